"""Idempotency keys: a POST that is sent again with the same key is answered as it was the first time.

After draft-ietf-httpapi-idempotency-key-header-07. The answer is kept in the transaction of the act, so that there is
never the one without the other: what failed was not done, and may be sent again. A repetition that overtakes its
original waits for it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from flask import Request, Response
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from perdura.accounts.forgetting import REPETITIONS
from perdura.accounts.principals import Principal
from perdura.accounts.tables import IdempotencyKey
from perdura.api.problems import FieldError, Problem
from perdura.api.reading import JSON

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
LARGEST_KEPT = 64 * 2**10
WAIT_SECONDS = 5
_KEY = re.compile(r'"?([\x21\x23-\x5b\x5d-\x7e]{1,255})"?')
_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that carries a key: whose it is, and the digest of all that makes it this request."""

    caller: str
    key: str
    fingerprint: bytes


def of(request: Request, principal: Principal, body: bytes) -> Repeatable | None:
    """The key of a request, None when it has none; raises a 400 for one that cannot be."""
    sent = request.headers.get(HEADER)
    if sent is None or request.method != "POST":
        return None
    match = _KEY.fullmatch(sent.strip())
    if match is None:
        told = FieldError(f"header.{HEADER}", "1 to 255 printable characters without blanks")
        raise Problem(400, "The idempotency key cannot be read.", "idempotency-key", (told,))
    scopes = json.dumps(principal.told_scopes).encode()
    parts = (request.path.encode(), request.query_string, request.mimetype.encode(), body, scopes)
    fingerprint = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()
    return Repeatable(str(principal.account), match[1], fingerprint)


def answered(connection: Connection, request: Repeatable) -> Response | None:
    """The answer that the request was given before; None when it is new, and its key is taken from now on.

    Raises a 422 for a key of another request, a 409 while its original is under way or when its answer was not kept.
    """
    ours = (IdempotencyKey.caller == request.caller, IdempotencyKey.key == request.key)
    taking = insert(IdempotencyKey).values(
        caller=request.caller, key=request.key, request_hash=request.fingerprint, replayable=False
    )
    # One that has grown old is taken as if it were not there.
    expired = IdempotencyKey.created_at < func.clock_timestamp() - REPETITIONS
    taking = taking.on_conflict_do_update(
        index_elements=["caller", "key"],
        set_={
            "request_hash": request.fingerprint,
            "status": None,
            "media_type": None,
            "body": None,
            "replayable": False,
            "created_at": func.clock_timestamp(),
        },
        where=expired,
    )
    connection.execute(text("SELECT set_config('lock_timeout', :seconds, true)"), {"seconds": f"{WAIT_SECONDS}s"})
    try:
        taken = connection.execute(taking.returning(IdempotencyKey.key)).one_or_none()
    except DBAPIError as error:
        if _sqlstate(error) != _LOCK_NOT_AVAILABLE:
            raise
        raise Problem(
            409, "The same request is under way.", "in-progress", headers={"Retry-After": str(WAIT_SECONDS)}
        ) from None
    connection.execute(text("SELECT set_config('lock_timeout', '0', true)"))
    if taken is not None:
        return None
    row = connection.execute(select(IdempotencyKey.__table__).where(*ours)).one()
    if row.request_hash != request.fingerprint:
        told = FieldError(f"header.{HEADER}", "used for another request before")
        raise Problem(422, "This key belongs to another request.", "idempotency-key-reused", (told,))
    if not row.replayable:
        raise Problem(409, "This was done already; its answer is not repeated.", "done-already")
    response = Response(row.body, status=row.status, mimetype=row.media_type)
    if place := _place(row.status, row.media_type, row.body):
        response.headers["Location"] = place
    response.headers[REPLAYED] = "true"
    response.headers["Cache-Control"] = "no-store"
    return response


def keep(connection: Connection, request: Repeatable, response: Response, *, confidential: bool) -> None:
    """Keep the answer for a repetition, unless it holds a secret, is large or is streamed."""
    if confidential or response.is_streamed or len(response.data) > LARGEST_KEPT:
        return
    connection.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.caller == request.caller, IdempotencyKey.key == request.key)
        .values(status=response.status_code, media_type=response.mimetype, body=response.data, replayable=True)
    )


def _place(status: int, media_type: str, body: bytes) -> str | None:
    """Where the thing lies that a kept answer says was made: its link to itself, as the first answer told it."""
    if status != HTTPStatus.CREATED or media_type != JSON:
        return None
    place = json.loads(body).get("links", {}).get("self")
    return place if isinstance(place, str) else None


def _sqlstate(error: DBAPIError) -> str:
    told: Sequence[object] = error.orig.args if error.orig is not None else ()
    return str(told[0].get("C", "")) if told and isinstance(told[0], dict) else ""
