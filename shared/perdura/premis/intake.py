"""CloudEvents to events of the log: what others ask to be recorded, and what could not be delivered to anyone."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from datetime import UTC, datetime, tzinfo
from uuid import UUID

from sqlalchemy.engine import Connection

from perdura.cloudevents.message import CloudEvent
from perdura.errors import Rejected
from perdura.ids import derived_id
from perdura.premis import log
from perdura.premis.json_form import event_from_json, sent_xml
from perdura.premis.model import FAILURE, Event, Identifier, Outcome
from perdura.premis.xml import DEFAULT_IDENTIFIER_TYPE, LONGEST_VALUE

RECORD_REQUESTED = "org.perdura.premis.record.requested.v1"
DEAD_LETTER = "message delivery"
"""Event type of a CloudEvent that its subscriber never took; the Library of Congress has no term for it."""

_log = logging.getLogger(__name__)
_LONGEST_NOTE = 4_000
_ARCHIVE = re.compile(r"archive/([0-9a-f-]{36})")


def record(
    connection: Connection,
    event: CloudEvent,
    *,
    zone: tzinfo = UTC,
    identifier_type: str = DEFAULT_IDENTIFIER_TYPE,
) -> list[Event]:
    """Record what a CloudEvent asks for, in the caller's transaction; any other CloudEvent is a dead letter.

    Gives back the events that were new. Doing it twice records it once: identifiers that are not sent are derived
    from the CloudEvent. A request that is no list of events is recorded as a failure, and nothing of it: whoever
    delivers it would drop it for good after any answer. `zone` is that of dates without an offset.
    """
    sent: list[str | None] = []
    if is_dead_letter(event):
        events = [dead_letter(event)]
    else:
        try:
            events = requested(event, zone=zone, identifier_type=identifier_type)
            sent = [sent_xml(each) for each in event.data["events"]]
        except Rejected as error:
            _log.warning("request to record refused: %s", error.message, extra={"event": event.id, "code": error.code})
            events = [refused(event, error.message)]
    taken = set(log.append_free(connection, events, actor=f"cloudevent:{event.source[:1000]}", sent=sent))
    if taken:
        _log.info("events recorded before", extra={"event": event.id, "known": len(taken)})
    return [each for position, each in enumerate(events) if position not in taken]


def requested(event: CloudEvent, *, zone: tzinfo = UTC, identifier_type: str = DEFAULT_IDENTIFIER_TYPE) -> list[Event]:
    """The events that a `premis.record.requested` carries; raises Rejected naming the first that is wrong."""
    data = event.data
    listed = data.get("events") if isinstance(data, dict) else None
    if not isinstance(listed, list) or not listed:
        raise Rejected("data.events: expected a list of events.", code="incomplete-request")
    now = datetime.now(UTC)
    events = []
    for number, each in enumerate(listed):
        otherwise = derived_id("premis", event.source, event.id, number)
        try:
            read = event_from_json(each, now=now, zone=zone, identifier_type=identifier_type, otherwise=otherwise)
        except Rejected as error:
            raise Rejected(f"data.events[{number}]: {error.message}", code=error.code) from error
        events.append(read)
    return events


def dead_letter(event: CloudEvent) -> Event:
    """The failure event of a CloudEvent that could not be delivered, with what the broker says of it, if anything."""
    broker = {name: event.extensions[name] for name in sorted(event.extensions) if name.startswith("knativeerror")}
    return _failure(
        derived_id("dead-letter", event.source, event.id, event.type, broker.get("knativeerrordest", "")),
        event,
        "was not delivered.",
        [f"{name}: {value[:_LONGEST_NOTE]}" for name, value in broker.items()],
    )


def refused(event: CloudEvent, why: str) -> Event:
    """The failure event of a request to record that cannot be understood."""
    identity = derived_id("refused request", event.source, event.id)
    return _failure(identity, event, "was refused: nothing of it is recorded.", [why[:_LONGEST_NOTE]])


def _failure(identity: UUID, event: CloudEvent, became: str, notes: list[str]) -> Event:
    if isinstance(event.data, bytes):
        notes.append("data in base64: " + b64encode(event.data[:_LONGEST_NOTE]).decode())
    elif event.data is not None:
        notes.append("data: " + json.dumps(event.data, ensure_ascii=False, sort_keys=True)[:_LONGEST_NOTE])
    objects = [Identifier("CloudEvent", f"{event.source}#{event.id}"[:LONGEST_VALUE])]
    id_, type_, source = (each[:_LONGEST_NOTE] for each in (event.id, event.type, event.source))
    if (archive := _archive(event)) is not None:
        objects.insert(0, Identifier("UUID", str(archive)))
    return Event(
        id=identity,
        type=DEAD_LETTER,
        at=event.time or datetime.now(UTC),
        details=(f"CloudEvent {id_} of type {type_} from {source} {became}",),
        outcomes=(Outcome(FAILURE, tuple(notes)),),
        agents=(Identifier("local", "perdura/premis-log", ("implementer",)),),
        objects=tuple(objects),
    )


def is_dead_letter(event: CloudEvent) -> bool:
    """Whether the broker gave up on it: its error attributes say so, or that it is here at all."""
    return event.type != RECORD_REQUESTED or any(name.startswith("knativeerror") for name in event.extensions)


def _archive(event: CloudEvent) -> UUID | None:
    match = _ARCHIVE.fullmatch(event.subject or "")
    try:
        return UUID(match[1]) if match else None
    except ValueError:
        return None
