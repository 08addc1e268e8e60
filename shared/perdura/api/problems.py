"""Problem details (RFC 9457): every refusal as a small JSON document that names what is wrong and where."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus

from flask import Response
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from perdura import database
from perdura.errors import Broken, Conflict, NotFound, NotStored, PerduraError, Rejected, Retryable

BODY_LIMIT = 512
"""Largest body of an error answer in bytes (architecture §3.6)."""

NAMING_LIMIT = 16 * 2**10
"""Largest body of one that names the fields that are wrong."""

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5
_log = logging.getLogger("perdura.api")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong member of a request: `field` as a dotted path (`query.limit`, `body.files.0.size`)."""

    field: str
    message: str


@dataclass(eq=False)
class Problem(Exception):
    """A refusal that the client is told about; raised anywhere below a request."""

    status: int
    detail: str
    code: str = ""
    errors: Sequence[FieldError] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The standard phrase of the status."""
        return HTTPStatus(self.status).phrase


def problem_of(error: Exception) -> Problem:
    """The problem that an exception means to the client; what is not the client's business is logged instead."""
    match error:
        case Problem():
            return error
        case ValidationError():
            return invalid(error, "body")
        case NotFound() | NotStored():
            return Problem(404, error.message, error.code)
        case Conflict():
            return Problem(409, error.message, error.code)
        case Rejected():
            return Problem(422, error.message, error.code)
        case Retryable():
            seconds = max(1, round(error.retry_after or RETRY_AFTER_SECONDS))
            return Problem(503, error.message, error.code, headers={"Retry-After": str(seconds)})
        case HTTPException(code=int(status), description=told) if 400 <= status < 500:
            return Problem(status, told or HTTPStatus(status).phrase, "bad-request")
        case _ if database.passing(error):
            _log.warning("database: %s", type(error).__name__)
            return Problem(
                503,
                "The database does not answer.",
                "database-unavailable",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        case _ if database.dangling(error):
            return Problem(409, "Something that the request names is gone meanwhile, or still in use.", "in-use")
        case _ if database.sqlstate(error).startswith("22"):
            return Problem(422, "The request holds a value that cannot be looked for.", "invalid")
        case Broken() | PerduraError():
            _log.error("broken: %s", error.message)
            return Problem(500, "The server is not set up as it should be; its operator was told.", error.code)
        case _:
            _log.exception("unexpected error", exc_info=error)
            return Problem(500, "Something went wrong here; its operator was told.", "internal")


def invalid(error: ValidationError, where: str) -> Problem:
    """The 422 that names every wrong field of a `body` or `query`; values sent are never repeated."""
    found = [
        FieldError(".".join((where, *(str(part) for part in entry["loc"]))), entry["msg"].removeprefix("Value error, "))
        for entry in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return Problem(422, f"{len(found)} wrong value(s) in the {where}.", "invalid", tuple(found))


def document(problem: Problem) -> bytes:
    """The problem as JSON: its detail is cut to BODY_LIMIT bytes, field errors beyond NAMING_LIMIT are left out."""
    members: dict[str, object] = {
        "type": f"urn:perdura:problem:{problem.code}" if problem.code else "about:blank",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    while (size := len(_json(members))) > BODY_LIMIT:
        members["detail"] = str(members["detail"])[: -max(1, size - BODY_LIMIT)]
    left = NAMING_LIMIT - BODY_LIMIT
    errors: list[Mapping[str, object]] = []
    for entry in problem.errors:
        told = {"field": entry.field[:80], "message": entry.message[:120]}
        left -= len(_json(told)) + 1
        if left < 0:
            break
        errors.append(told)
    return _json(members | ({"errors": errors} if errors else {}))


def _json(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


@contextmanager
def blaming(field: str) -> Iterator[None]:
    """Names that field of the request as the one at fault where the code within rejects what stood in it."""
    try:
        yield
    except (NotFound, NotStored, Conflict):
        raise
    except Rejected as refused:
        raise Problem(422, refused.message, refused.code, (FieldError(field, refused.message),)) from None


def respond_with(problem: Problem) -> Response:
    """The answer for a problem."""
    response = Response(document(problem), status=problem.status, mimetype=MEDIA_TYPE)
    response.headers["Cache-Control"] = "no-store"
    for name, value in problem.headers.items():
        response.headers[name] = value
    return response


def not_found(what: str) -> Problem:
    """The 404 for what is not there, or may not be seen; the two cannot be told apart."""
    return Problem(404, f"There is no such {what}.", "not-found")


def copy_damaged() -> Problem:
    """The answer to whoever wants bytes of a copy that is known not to have them any more."""
    message = "The copy that this is read from was found damaged or lost. It cannot be had until it is put right."
    return Problem(503, message, "copy-damaged", headers={"Retry-After": "86400"})


def embargoed(until: date) -> Problem:
    """The 403 for whoever wants bytes of an Archive whose files are shut."""
    return Problem(403, f"The files of this Archive are under embargo until {until.isoformat()}.", "embargoed")


def method_not_allowed(allowed: Iterable[str]) -> Problem:
    """The 405 with its Allow header."""
    listing = ", ".join(sorted(allowed))
    return Problem(405, f"Allowed here: {listing}.", "method-not-allowed", headers={"Allow": listing})
