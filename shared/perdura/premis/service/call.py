"""One request as the handlers see it, and the refusals they raise."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from functools import cached_property
from typing import IO, NoReturn
from urllib.parse import parse_qsl, quote
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Connection, Engine
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response

from perdura.database import standing_alone
from perdura.errors import PerduraError
from perdura.premis.gathering import Gathering, gathering
from perdura.premis.model import Event
from perdura.premis.query import Sight
from perdura.premis.service.door import Deed, Door, Holder
from perdura.settings import Settings

SHOWN = 200
"""Characters of a sent value that an error message repeats."""

PIECE = 2**18
"""Bytes of a body that are received at once; of more than that the rest waits on disk."""

_NO_TEXT = ("multipart/", "image/", "audio/", "video/", "font/")

ATOM = "application/atom+xml"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Telling:
    """How others hear of events, from the outbox that is written in the transaction that records them.

    `one` gives the JSON of the CloudEvent that tells of one event, `many` writes those of several.
    """

    one: Callable[[Event], str]
    many: Callable[[Connection, list[Event]], None]


class Refused(PerduraError):
    """A request that is answered with an error; the message is one line for its sender."""

    code = "refused"

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Urls:
    """Absolute URLs of everything that is served; identifiers are percent-encoded."""

    base: str

    def collection(self, kind: str) -> str:
        """The AtomPub collection of `event` or `agent`."""
        return f"{self.base}/APP/{kind}/"

    def member(self, kind: str, identifier: str) -> str:
        """The permalink of an event or agent."""
        return f"{self.base}/APP/{kind}/{quote(identifier, safe='')}/"

    def page(self, kind: str, identifier: str) -> str:
        """The HTML page of an event or agent."""
        return f"{self.base}/{kind}/{quote(identifier, safe='')}/"

    def form(self, kind: str, identifier: str, suffix: str) -> str:
        """Another form: suffix `.xml`, `.premis.xml` or `.json`."""
        return f"{self.base}/{kind}/{quote(identifier, safe='')}{suffix}"


@dataclass(frozen=True)
class Call:
    """A request with its surroundings. `path` is the raw, still encoded path, `token` that of a form."""

    request: Request
    path: str
    engine: Engine
    settings: Settings
    urls: Urls
    door: Door
    telling: Telling | None = None
    token: str | None = None
    query: list[tuple[str, str]] = field(default_factory=list)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.request.method)

    @property
    def zone(self) -> tzinfo:
        """Time zone of dates without an offset."""
        return ZoneInfo(self.settings.premis_zone)

    def reading(self) -> Connection:
        """A connection for statements that each stand alone; use it as a context."""
        return standing_alone(self.engine, self.settings).connect()

    @property
    def gathering(self) -> Gathering:
        """Where single events are added to the log."""
        return gathering(standing_alone(self.engine, self.settings))

    def parameters(self, *known: str) -> dict[str, str]:
        """Parameters that are not blank, the last of each name, in the order sent."""
        sent: dict[str, str] = {}
        for name, value in self.query:
            if "\0" in value or "\0" in name:
                raise Refused(400, f"{shown(name)}: a parameter may not contain NUL.")
            if name in known:
                sent[name] = value
        return {name: value for name, value in sent.items() if value.strip()}

    @cached_property
    def holder(self) -> Holder | None:
        """Who holds the token of a form or of a header; None if there is none that is good."""
        token = self.token
        if token is None:
            scheme, _, credentials = self.request.headers.get("Authorization", "").partition(" ")
            token = credentials.strip() if scheme.lower() == "bearer" else None
        return self.door.holder(token) if token else None

    @cached_property
    def sender(self) -> Holder:
        """Who sends the request: the holder of a good token, or a stranger."""
        return self.holder or self.door.holder(None) or Holder("")

    @property
    def sight(self) -> Sight | None:
        """What is hidden from the sender."""
        return self.sender.sight

    def writer(self) -> str:
        """Who writes: raises Refused 401 or 403 unless they may."""
        if self.sender.writes:
            return self.sender.name
        if self.settings.premis_open_writes and not self._tried:
            return f"http:{self.request.remote_addr or 'unknown'}"
        self._refuse("write")

    def reader(self) -> None:
        """Raises Refused unless the sender may read."""
        if not self.settings.premis_open_reads and not self.sender.reads:
            self._refuse("read")

    @property
    def _tried(self) -> bool:
        return self.token is not None or "Authorization" in self.request.headers

    def _refuse(self, deed: str) -> NoReturn:
        if self.holder is not None:
            raise Refused(403, f"This token may not {deed}.")
        wrong, why = (', error="invalid_token"', " that is good here") if self._tried else ("", "")
        challenge = {"WWW-Authenticate": f'Bearer realm="PREMIS log"{wrong}'}
        raise Refused(401, f"{deed.capitalize().removesuffix('e')}ing needs a bearer token{why}.", challenge)

    def media(self) -> str:
        """The media type of the body, without parameters; raises Refused 415 for one that is no text."""
        media = (self.request.mimetype or "").lower()
        if media.startswith(_NO_TEXT):
            raise Refused(415, f"Content-Type {shown(media)}: expected Atom, PREMIS XML or JSON.")
        return media

    def unchanged(self, *tags: str) -> None:
        """Raises Refused 412 when `If-Match` names none of the tags that what is stored has now."""
        wanted = self.request.if_match
        if not wanted or wanted.star_tag:
            return
        if not {tag.removesuffix("-gzip") for tag in wanted.as_set(include_weak=True)}.intersection(tags):
            raise Refused(412, "It has changed since it was read.")

    def audit(self, connection: Connection, action: str, status: int, *objects: str) -> None:
        """Keep in the audit log what the sender did, in its transaction."""
        self.door.note(connection, self.sender, Deed(action, self.request, status, objects))

    def entry(self, action: str, status: int, *objects: str) -> str | None:
        """The same as JSON, for the statement that does it; None where there is no audit log."""
        return self.door.entry(self.sender, Deed(action, self.request, status, objects))

    def body(self, limit: int) -> bytes:
        """The body, never more than `limit` bytes; raises Refused 413 or 415."""
        return b"".join(self._pieces(limit))

    def received(self, limit: int) -> IO[bytes]:
        """The body as a file, which is on disk when it is large; raises what `body` raises."""
        length = self.request.content_length
        if length is not None and length <= PIECE:
            return io.BytesIO(self.body(limit))
        file = tempfile.TemporaryFile(prefix="perdura-body-")  # noqa: SIM115 closed by the caller
        try:
            for piece in self._pieces(limit):
                file.write(piece)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def _pieces(self, limit: int) -> Iterator[bytes]:
        """The body in parts: gunicorn copies what is left of a large one each time that a little is asked for."""
        if self.request.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise Refused(415, "Content-Encoding: only identity is accepted.", {"Accept-Encoding": "identity"})
        length = self.request.content_length
        if length is not None and length > limit:
            raise too_large(limit)
        left = limit + 1 if length is None else length
        try:
            while left > 0 and (piece := self.request.stream.read(min(left, PIECE))):
                left -= len(piece)
                yield piece
        except ClientDisconnected as error:
            raise Refused(400, "The body ended early.") from error
        if length is None and left <= 0:
            raise too_large(limit)


def too_large(limit: int) -> Refused:
    """What a body of more than `limit` bytes is told."""
    return Refused(413, f"The body is larger than {limit} bytes.")


Handler = Callable[[Call], Response]


class Route:
    """What a URL can do: a handler by method, its canonical path, and what a wrong method is told."""

    def __init__(self, handlers: dict[str, Handler], canonical: str | None = None, wrong: str = "") -> None:
        self.handlers = handlers
        if "GET" in handlers:
            self.handlers.setdefault("HEAD", handlers["GET"])
        self.canonical = canonical
        self.wrong = wrong


def shown(value: str) -> str:
    """A sent value as error messages repeat it; JSON may hold what UTF-8 cannot."""
    value = value.encode("utf-8", "replace").decode() if not value.isascii() else value
    return value if len(value) <= SHOWN else value[:SHOWN] + "…"


def parsed_query(raw: str) -> list[tuple[str, str]]:
    """The parameters of a query string, in order."""
    try:
        return parse_qsl(raw, keep_blank_values=True, errors="replace", max_num_fields=100)
    except ValueError as error:
        raise Refused(400, "The query has more than 100 parameters.") from error


def text(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A line of text."""
    return Response(message, status, headers=dict(headers or {}), content_type=TEXT)


def as_json(value: object, status: int = 200, content_type: str = "application/json") -> Response:
    """A JSON answer."""
    return Response(json.dumps(value, ensure_ascii=False, indent=1), status, content_type=content_type)


def refusal(request: Request, status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error: one line of text, or a problem document where `Accept` asks for it (RFC 9457)."""
    if "application/problem+json" in request.headers.get("Accept", ""):
        problem = {"type": "about:blank", "status": status, "title": message.strip()[:400]}
        response = as_json(problem, status, "application/problem+json")
        response.headers.update(dict(headers or {}))
        return response
    return text(status, message, headers)
