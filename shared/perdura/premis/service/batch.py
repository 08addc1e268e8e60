"""Batches of events: an Atom feed, a JSON list or NDJSON; all or nothing, or a report per entry (premis.md 4.7).

A batch is all or nothing unless the client says `Prefer: handling=lenient` (RFC 7240).
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from lxml import etree
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response

from perdura.errors import Rejected
from perdura.premis import log
from perdura.premis.json_form import BadJson, event_from_json
from perdura.premis.log import DuplicateEvent
from perdura.premis.model import Event, value
from perdura.premis.rows import Row, row
from perdura.premis.service.call import Call, Refused, as_json, shown
from perdura.premis.xml import NotXml, events_in, received, refuse_doctype
from perdura.premis.xml.names import ATOM, NAMESPACES

_log = logging.getLogger(__name__)

CHUNK = 250
"""Events that one statement adds: the first chunk is read, and the last one stored, while the other side waits."""
MOST = 50_000
TOGETHER = 50
"""Entries that are taken out of the tree at once, each empty by then."""
_FEED = (f"{{{ATOM}}}entry", "entry", *(f"{{{namespace}}}event" for namespace in NAMESPACES))


@value
class _Entry:
    """One entry of a batch: an event, or what is wrong with it."""

    number: int
    event: Event | None
    row: Row | None
    problem: str | None = None


def is_batch(media: str, data: bytes) -> bool:
    """Whether a body holds a list of events rather than one."""
    if media in ("application/x-ndjson", "application/jsonl", "application/ndjson"):
        return True
    if media.endswith("json"):
        return data.lstrip()[:1] == b"["
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    while head.startswith((b"<?", b"<!--")):
        end = b"?>" if head.startswith(b"<?") else b"-->"
        _, found, head = head.partition(end)
        head = head.lstrip()
        if not found:
            return False
    name = head[1:].split(maxsplit=1)[0].rstrip(b">/") if head.startswith(b"<") and head[1:].split() else b""
    return name.split(b">")[0].rpartition(b":")[2] in (b"feed", b"premis")


def create(call: Call, media: str, data: bytes, actor: str) -> Response:
    """Record a batch; the answer counts what was stored and, in lenient mode, says what became of each entry."""
    lenient = "handling=lenient" in call.request.headers.get("Prefer", "").replace(" ", "").lower()
    now = datetime.now(UTC)
    outcomes: list[dict[str, Any]] = []
    stored = 0
    with call.engine.begin() as connection, ThreadPoolExecutor(1) as writer:
        # While one chunk is being stored the next one is read and made ready: each takes about as long as the other.
        # The connection is only ever used by one of the two.
        under_way: Future[int] | None = None
        for chunk in _chunks(_entries(call, media, data, now, actor)):
            stored += under_way.result() if under_way is not None else 0
            under_way = writer.submit(_record, connection, call, chunk, actor, now, lenient, outcomes)
        stored += under_way.result() if under_way is not None else 0
        call.audit(connection, "premis.batch", 201 if stored else 200)
    if not stored and not outcomes:
        raise Refused(400, "The batch holds no event.")
    if lenient:
        response = as_json({"created": stored, "entries": outcomes}, 201 if stored else 200)
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


def json_value(data: bytes) -> Any:
    """A JSON document; raises BadJson."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadJson(f"The body is no JSON: {shown(str(error))}") from error


def _record(
    connection: Connection,
    call: Call,
    chunk: list[_Entry],
    actor: str,
    now: datetime,
    lenient: bool,
    outcomes: list[dict[str, Any]],
) -> int:
    """Store one chunk; adds what became of its entries to `outcomes` and gives the number stored."""
    wrong = [each for each in chunk if each.problem is not None]
    if wrong and not lenient:
        raise Refused(400, f"entry {wrong[0].number}: {wrong[0].problem}")
    right = [each for each in chunk if each.event is not None]
    events = [each.event for each in right if each.event is not None]
    rows = [each.row for each in right if each.row is not None]
    taken = set(log.append_rows(connection, rows, actor=actor, recorded_at=now)) if rows else set()
    if taken and not lenient:
        raise DuplicateEvent([events[position].identifier_value for position in sorted(taken)])
    if call.telling is not None:
        call.telling.many(connection, [event for position, event in enumerate(events) if position not in taken])
    if lenient:
        refused = {right[position].number for position in taken}
        outcomes += [_outcome(each, each.number in refused) for each in chunk]
    return len(events) - len(taken)


def _outcome(entry: _Entry, taken: bool) -> dict[str, Any]:
    if entry.event is None:
        return {"entry": entry.number, "status": 400, "message": entry.problem}
    identifier = entry.event.identifier_value
    if taken:
        return {"entry": entry.number, "identifier": identifier, "status": 409, "message": "exists"}
    return {"entry": entry.number, "identifier": identifier, "status": 201}


def _chunks(entries: Iterator[_Entry]) -> Iterator[list[_Entry]]:
    chunk: list[_Entry] = []
    for entry in entries:
        if entry.number > MOST:
            raise Refused(413, f"A batch may hold {MOST} events.")
        chunk.append(entry)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _entries(call: Call, media: str, data: bytes, now: datetime, actor: str) -> Iterator[_Entry]:
    if "json" in media:
        return _from_json(call, media, data, now, actor)
    return _from_xml(call, data, now, actor)


def _from_xml(call: Call, data: bytes, now: datetime, actor: str) -> Iterator[_Entry]:
    """Entries of a feed, or events of a premis document, read as a stream: memory does not grow with the batch."""
    refuse_doctype(data)
    number = 0
    root: etree._Element | None = None
    parser = etree.iterparse(
        io.BytesIO(data.lstrip()),
        events=("end",),
        tag=_FEED,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
    )
    try:
        for _, element in parser:
            parent = element.getparent()
            if root is None and parent is not None and parent.getparent() is None:
                root = parent
            if root is None or parent is not root:
                continue
            number += 1
            yield _xml_entry(call, number, element, now, actor)
            element.clear()
            if number % TOGETHER == 0:
                del root[: root.index(element)]
    except etree.XMLSyntaxError as error:
        raise NotXml(f"The body is not well-formed XML: {shown(str(error))}") from error


def _xml_entry(call: Call, number: int, element: etree._Element, now: datetime, actor: str) -> _Entry:
    try:
        (found,) = events_in(element)
        event, sent, shown = received(
            found, now=now, zone=call.zone, identifier_type=call.settings.premis_identifier_type
        )
    except Rejected as error:
        return _Entry(number, None, None, error.message)
    return _Entry(number, event, row(event, sent=sent, shown=shown, recorded_at=now, actor=actor))


def _from_json(call: Call, media: str, data: bytes, now: datetime, actor: str) -> Iterator[_Entry]:
    values: Iterator[Any]
    if media == "application/json":
        values = iter(json_value(data))
    else:
        values = (line for line in io.BytesIO(data) if line.strip())
    for number, each in enumerate(values, start=1):
        try:
            read = json_value(each) if isinstance(each, bytes) else each
            event = event_from_json(read, now=now, zone=call.zone, identifier_type=call.settings.premis_identifier_type)
        except Rejected as error:
            yield _Entry(number, None, None, error.message)
        else:
            yield _Entry(number, event, row(event, sent=None, recorded_at=now, actor=actor))
