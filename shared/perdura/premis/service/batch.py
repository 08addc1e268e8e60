"""Batches of events: an Atom feed, a JSON list or NDJSON; all or nothing, or a report per entry (premis.md 4.7).

A batch is all or nothing unless the client says `Prefer: handling=lenient` (RFC 7240).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import IO, Any

from lxml import etree
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from perdura.errors import Rejected
from perdura.premis import log
from perdura.premis.json_form import event_from_json, sent_xml
from perdura.premis.log import DuplicateEvent
from perdura.premis.model import Event, value
from perdura.premis.packed import Packed, packed
from perdura.premis.rows import Row, row
from perdura.premis.service import strict
from perdura.premis.service.call import Call, Refused, as_json
from perdura.premis.service.unpacking import entries, items, json_value, lines, root_name
from perdura.premis.xml import events_in, received
from perdura.premis.xml.usual_atom import UsualEvent

_log = logging.getLogger(__name__)

CHUNK = 250
"""Events that one statement adds: the first chunk is read, and the last one stored, while the other side waits."""
AHEAD = 2
"""Chunks that are made ready while one before them is stored: PostgreSQL begins with the next at once."""
TOLD = 1_000
"""Events that are told of together, which takes a statement of its own."""
MOST = 50_000


@value
class _Entry:
    """One entry of a batch: an event, or what is wrong with it."""

    number: int
    event: Event | None
    row: Row | None
    problem: str | None = None
    status: int = 400


@value
class _Chunk:
    """Entries that are stored by one statement, and what it takes of those that hold an event."""

    entries: list[_Entry]
    packed: Packed


def is_batch(media: str, head: bytes) -> bool:
    """Whether a body that begins so holds a list of events rather than one."""
    if media in ("application/x-ndjson", "application/jsonl", "application/ndjson"):
        return True
    if media.endswith("json"):
        return head.lstrip()[:1] == b"["
    return root_name(head) in (b"feed", b"premis")


def create(call: Call, media: str, body: IO[bytes], actor: str) -> Response:
    """Record a batch; the answer counts what was stored and, in lenient mode, says what became of each entry."""
    lenient = "handling=lenient" in call.request.headers.get("Prefer", "").replace(" ", "").lower()
    now = datetime.now(UTC)
    with call.engine.begin() as connection, ThreadPoolExecutor(1) as writer:
        # While one chunk is being stored the next ones are read and made ready, up to the arrays that are sent: each
        # takes about as long as the other. The connection is only ever used by one of the two.
        recording = _Recording(call, connection, actor, now, lenient)
        under_way: deque[Future[None]] = deque()
        for chunk in _chunks(_entries(call, media, body, now, actor)):
            if len(under_way) == AHEAD:
                under_way.popleft().result()
            under_way.append(writer.submit(recording.store, chunk))
        for each in under_way:
            each.result()
        recording.tell()
        call.audit(connection, "premis.batch", 201 if recording.stored else 200)
    stored, outcomes = recording.stored, recording.outcomes
    if not stored and not outcomes:
        raise Refused(400, "The batch holds no event.")
    if lenient:
        response = as_json({"created": stored, "entries": outcomes}, 201 if stored else 200)
        response.headers["Preference-Applied"] = "handling=lenient"
    else:
        response = as_json({"created": stored}, 201)
    response.call_on_close(lambda: _fold(call))
    return response


def _fold(call: Call) -> None:
    """Fold the changes of the counts, once the client has its answer; the sealing does what is left here."""
    try:
        with call.reading() as connection:
            connection.exec_driver_sql("SELECT premis_fold_counts(%s)", (100_000,))
    except SQLAlchemyError as error:
        _log.warning("counts were not folded: %s", type(error).__name__)


@dataclass(slots=True)
class _Recording:
    """A batch in its transaction: how many events are stored, what became of its entries, and what to tell of."""

    call: Call
    connection: Connection
    actor: str
    now: datetime
    lenient: bool
    stored: int = 0
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    untold: list[Event] = field(default_factory=list)

    def store(self, chunk: _Chunk) -> None:
        """Store one chunk; unless the batch is lenient, raises Refused or DuplicateEvent for what cannot be stored."""
        wrong = next((each for each in chunk.entries if each.problem is not None), None)
        if wrong is not None and not self.lenient:
            raise Refused(wrong.status, f"entry {wrong.number}: {wrong.problem}")
        right = [(each.number, each.event) for each in chunk.entries if each.event is not None]
        taken = set[int]()
        if right:
            taken.update(log.append_packed(self.connection, chunk.packed, actor=self.actor, recorded_at=self.now))
        if taken and not self.lenient:
            raise DuplicateEvent([right[position][1].identifier_value for position in sorted(taken)])
        self.stored += len(right) - len(taken)
        self.untold += [event for position, (_, event) in enumerate(right) if position not in taken]
        if len(self.untold) >= TOLD:
            self.tell()
        if self.lenient:
            refused = {right[position][0] for position in taken}
            self.outcomes += [_outcome(each, each.number in refused) for each in chunk.entries]

    def tell(self) -> None:
        """Write what tells of the events that nothing tells of yet."""
        if self.call.telling is not None and self.untold:
            self.call.telling.many(self.connection, self.untold)
        self.untold = []


def _outcome(entry: _Entry, taken: bool) -> dict[str, Any]:
    if entry.event is None:
        return {"entry": entry.number, "status": entry.status, "message": entry.problem}
    identifier = entry.event.identifier_value
    if taken:
        return {"entry": entry.number, "identifier": identifier, "status": 409, "message": "exists"}
    return {"entry": entry.number, "identifier": identifier, "status": 201}


def _chunks(entries: Iterator[_Entry]) -> Iterator[_Chunk]:
    chunk: list[_Entry] = []
    for entry in entries:
        if entry.number > MOST:
            raise Refused(413, f"A batch may hold {MOST} events.")
        chunk.append(entry)
        if len(chunk) == CHUNK:
            yield _chunk(chunk)
            chunk = []
    if chunk:
        yield _chunk(chunk)


def _chunk(entries: list[_Entry]) -> _Chunk:
    return _Chunk(entries, packed([each.row for each in entries if each.row is not None]))


def _entries(call: Call, media: str, body: IO[bytes], now: datetime, actor: str) -> Iterator[_Entry]:
    if "json" not in media:
        for number, entry in enumerate(entries(body), start=1):
            yield _xml_entry(call, number, entry, now, actor)
        return
    longest = call.settings.body_limit
    values = items(body, longest) if media == "application/json" else lines(body, longest)
    for number, each in enumerate(values, start=1):
        yield _json_entry(call, number, each, now, actor)


def _xml_entry(call: Call, number: int, entry: UsualEvent | etree._Element, now: datetime, actor: str) -> _Entry:
    kept = call.settings.premis_identifier_type
    try:
        if isinstance(entry, UsualEvent):
            event, sent, shown = entry.read(now=now, zone=call.zone, identifier_type=kept)
        else:
            (found,) = events_in(entry)
            event, sent, shown = received(found, now=now, zone=call.zone, identifier_type=kept)
        strict.check(call, event)
    except (Rejected, Refused) as error:
        return _wrong(number, error)
    return _Entry(number, event, row(event, sent=sent, shown=shown, recorded_at=now, actor=actor))


def _json_entry(call: Call, number: int, value: Any, now: datetime, actor: str) -> _Entry:
    try:
        read = json_value(value) if isinstance(value, bytes) else value
        event = event_from_json(read, now=now, zone=call.zone, identifier_type=call.settings.premis_identifier_type)
        strict.check(call, event)
    except (Rejected, Refused) as error:
        return _wrong(number, error)
    return _Entry(number, event, row(event, sent=sent_xml(read), recorded_at=now, actor=actor))


def _wrong(number: int, error: Rejected | Refused) -> _Entry:
    return _Entry(number, None, None, error.message, error.status if isinstance(error, Refused) else 400)
