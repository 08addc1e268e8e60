"""The append-only log: adding events inside the caller's transaction, and what is known of one event or object."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any
from uuid import UUID

from lxml import etree
from sqlalchemy.engine import Connection

from perdura import arrays, prepared
from perdura.errors import Conflict
from perdura.premis.model import Event, value
from perdura.premis.packed import Packed, kinds, packed
from perdura.premis.rows import DELETED, REPLACED, Row, fit, leaf, object_key, row
from perdura.premis.xml import event_from, event_xml, parse
from perdura.prepared import Held


class DuplicateEvent(Conflict):
    """Events of these identifiers exist already; the caller's transaction must be rolled back."""

    code = "duplicate-event"

    def __init__(self, identifiers: Sequence[str]) -> None:
        self.identifiers = tuple(identifiers)
        super().__init__(f"An event with id='{self.identifiers[0][:200]}' exists.")


class ChangedMeanwhile(Conflict):
    """The event was replaced or deleted by somebody else since it was read."""

    code = "changed-meanwhile"


@value
class Stored:
    """The current state of an event in the log, its XML as it is shown by default."""

    event_id: UUID
    identifier: str
    sequence: int
    log_sequence: int
    at: datetime
    recorded_at: datetime
    changed_at: datetime
    version: int
    premis_version: str | None
    type: str
    outcomes: tuple[str, ...]
    objects: str
    xml: str
    sealed: bool | None = None

    @property
    def event(self) -> Event:
        """The event as a value, read from its XML."""
        return replaced(read(self.xml, self.premis_version), at=self.at)

    def xml_in(self, version: str | None) -> str:
        """The event element in PREMIS `2.3` or `3.0`; None means as it was sent."""
        return self.xml if version in (None, kept_version(self.premis_version)) else event_xml(self.event, version)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an event in the log; `sealed` once it is a leaf of the tree."""

    number: int
    kind: str
    recorded_at: datetime
    actor: str
    xml: str
    sequence: int
    sealed: bool

    @property
    def objects(self) -> tuple[str, ...]:
        """What this version names."""
        return tuple(each.value for each in event_from(parse(self.xml.encode()), stored=True).objects)


def append(
    connection: Connection,
    events: Sequence[Event],
    *,
    actor: str,
    sent: Sequence[str | None] = (),
    recorded_at: datetime | None = None,
) -> None:
    """Add events to the log, in one statement of the caller's transaction; safe among concurrent writers.

    `sent` holds, for events that came from outside, their canonical XML. Raises DuplicateEvent when any identifier
    is taken (also by a transaction that committed meanwhile): nothing may then be committed.
    """
    if taken := append_free(connection, events, actor=actor, sent=sent, recorded_at=recorded_at):
        raise DuplicateEvent([events[position].identifier_value for position in taken])


def append_free(
    connection: Connection,
    events: Sequence[Event],
    *,
    actor: str,
    sent: Sequence[str | None] = (),
    recorded_at: datetime | None = None,
    told: str | None = None,
) -> list[int]:
    """Add the events whose identifiers are free; gives back the positions of the others, which are not stored.

    `told` is a JSON list of `{"id": id of an event, "event": CloudEvent}`, put into the outbox with what is stored.
    """
    if not events:
        return []
    recorded = recorded_at or datetime.now(UTC)
    originals = sent or (None,) * len(events)
    rows = [
        row(event, sent=original, recorded_at=recorded, actor=actor)
        for event, original in zip(events, originals, strict=True)
    ]
    return append_packed(connection, packed(rows), actor=actor, recorded_at=recorded, told=told)


def append_packed(
    connection: Connection | Held,
    rows: Packed,
    *,
    actor: str,
    recorded_at: datetime,
    told: str | None = None,
    noted: str | None = None,
) -> list[int]:
    """What `append_free` does, with rows that were packed before.

    `noted` is a JSON list of entries of the audit log, each with the `number` of its row (from 1), kept by the same
    statement with what is stored.
    """
    values = (*rows, recorded_at, actor, told)
    if noted is None:
        return [number - 1 for (number,) in prepared.run(connection, _APPEND, values)]
    return [number - 1 for (number,) in prepared.run(connection, _APPEND_NOTED, (*values, noted))]


def append_one(
    connection: Connection | Held,
    event: Event,
    *,
    actor: str,
    sent: str | None = None,
    shown: str | None = None,
    recorded_at: datetime | None = None,
    told: str | None = None,
    noted: str | None = None,
    meanwhile: Callable[[Stored], object] | None = None,
) -> Stored | None:
    """Add one event, as `append_free` would, and give it back as it will be read; None when its identifier is taken.

    `shown` is what the writer makes of it, if that is known.
    `told` is the JSON of a CloudEvent that is put into the outbox with the event, by the same statement, `noted` that
    of an entry of the audit log. `meanwhile` is called with what will be given back if all goes well, while the
    database records it.
    """
    recorded = recorded_at or datetime.now(UTC)
    new = row(event, sent=sent, shown=shown, recorded_at=recorded, actor=actor)
    kind_id, type_, outcomes = new.kind
    values = (
        *(str(new.id), new.identifier, kind_id, new.at, new.premis, new.xml, new.sent, new.leaf, new.listed),
        *(type_, arrays.texts(outcomes)),
        *(arrays.texts(list(new.keys)), arrays.texts(list(new.keys.values())), arrays.texts(new.agents)),
        *(recorded, actor, told, noted),
    )
    foreseen = fresh(event, new, recorded)
    foresee = None if meanwhile is None else lambda: meanwhile(foreseen)
    ((done,),) = prepared.run(connection, _APPEND_ONE, values, foresee)
    return foreseen if done else None


def fresh(event: Event, made: Row, recorded_at: datetime) -> Stored:
    """An event that was just recorded, as it will be read; its places in the log are not known here."""
    _, type_, outcomes = made.kind
    return Stored(
        event.id, event.identifier_value, 0, 0, event.at, recorded_at, recorded_at, 1, event.version, type_,
        tuple(outcomes), made.listed, made.xml,
    )  # fmt: skip


def replace(
    connection: Connection,
    stored: Stored,
    event: Event,
    *,
    actor: str,
    sent: str | None = None,
    recorded_at: datetime | None = None,
) -> None:
    """Put a new version in the place of a stored event; the old one stays in the log and in the tree.

    Raises ChangedMeanwhile when `stored` is no longer the current version.
    """
    recorded = recorded_at or datetime.now(UTC)
    new = row(
        event, sent=sent, recorded_at=recorded, actor=actor, kind=REPLACED, version=stored.version + 1
    )  # fmt: skip
    put = {
        "k": new.kind[0], "at": new.at.isoformat(), "v": new.premis, "x": new.xml, "s": new.sent, "l": new.leaf,
        "b": new.listed,
    }  # fmt: skip
    named = [{"ob": key, "ba": bare} for key, bare in new.keys.items()]
    links = {**_old_links(stored), "new": [*named, *({"ag": key} for key in new.agents)]}
    _supersede(connection, stored, (_json(put), _json(links), _json(kinds([new])), "", recorded, actor))


def delete(connection: Connection, stored: Stored, *, actor: str) -> None:
    """Add a tombstone: the event is gone from every view, its versions stay in the log and in the tree.

    Raises ChangedMeanwhile when `stored` is no longer the current version.
    """
    recorded = datetime.now(UTC)
    version = stored.version + 1
    tombstone = leaf(stored.event, kind=DELETED, version=version, xml=stored.xml, recorded_at=recorded, actor=actor)
    links = _json({**_old_links(stored), "new": []})
    _supersede(connection, stored, (None, links, "[]", tombstone, recorded, actor))


def find(connection: Connection, event_id: UUID) -> Stored | None:
    """The event of that UUID, or None."""
    found = connection.exec_driver_sql(SELECT + " WHERE e.event_id = %s", (event_id,)).first()
    return stored_from(found) if found else None


def history(connection: Connection, event_id: UUID) -> list[Version]:
    """Every version of an event, oldest first, also of one that was deleted."""
    found = connection.exec_driver_sql(
        "SELECT l.version, l.kind, l.recorded_at, l.actor, l.xml, l.sequence, f.leaf_index IS NOT NULL "
        "FROM premis_log l LEFT JOIN premis_leaf f ON f.sequence = l.sequence WHERE l.event_id = %s "
        "ORDER BY l.sequence",
        (event_id,),
    )
    return [Version(*each) for each in found]


def events_of(
    connection: Connection,
    object_value: str | None = None,
    *,
    archive_id: UUID | None = None,
    limit: int = 200,
    after: int | None = None,
) -> list[Stored]:
    """Events that name an object (or the Archive of that id), in the order of logging.

    Each says whether it is sealed. `after` is the `sequence` of the last event of the page before.
    """
    key = object_key(fit(object_value) if object_value is not None else str(archive_id))
    found = connection.exec_driver_sql(_OF_OBJECT, (key, after or 0, limit))
    return [stored_from(each) for each in found]


def xml_of(connection: Connection, event_id: UUID, version: str | None = None) -> str | None:
    """The event as a PREMIS element in text (`2.3`, `3.0`, or as sent), or None if there is no such event."""
    stored = find(connection, event_id)
    return stored.xml_in(version) if stored else None


def kept_version(premis_version: str | None) -> str:
    """The version of the XML that is kept of an event that was sent in `premis_version`."""
    return "3.0" if premis_version in (None, "3.0") else "2.3"


def read(xml: str, premis_version: str | None) -> Event:
    """An event from its stored XML; events of our own come back as such."""
    event = event_from(parse(xml.encode()), stored=True)
    return event if premis_version == event.version else replaced(event, version=premis_version)


def read_at(xml: str, premis_version: str | None, at: datetime) -> Event:
    """The same of an event that was recorded as of that instant, which tells the zone of a date without an offset."""
    event = event_at(parse(xml.encode()), at)
    return event if premis_version == event.version else replaced(event, version=premis_version)


def event_at(element: etree._Element, at: datetime) -> Event:
    """An event from its element, in the zone that makes its date that instant, if it leaves one open."""
    event = event_from(element, now=at, stored=True)
    apart = event.at - at
    if not apart or abs(apart) >= timedelta(days=1):
        return event
    return event_from(element, now=at, zone=timezone(apart), stored=True)


# Times travel as microseconds and outcomes as JSON: the driver reads timestamps and arrays far more slowly.
_COLUMNS = (
    "e.event_id, e.identifier, e.sequence, e.log_sequence, (extract(epoch FROM e.at) * 1000000)::bigint, "
    "(extract(epoch FROM e.recorded_at) * 1000000)::bigint, (extract(epoch FROM e.changed_at) * 1000000)::bigint, "
    "e.version, e.premis_version, k.type, array_to_json(k.outcomes)::text, e.objects, e.xml"
)
_FROM = "FROM premis_event e JOIN premis_kind k ON k.id = e.kind_id"
SELECT = f"SELECT {_COLUMNS} {_FROM}"
"""Start of a query whose rows `stored_from` reads; `e` is the head and `k` its kind."""

_OF_OBJECT = " ".join(
    (
        "SELECT",
        _COLUMNS,
        ", NOT EXISTS (SELECT 1 FROM premis_unsealed u WHERE u.sequence = e.log_sequence)",
        _FROM,
        "JOIN (SELECT event_id FROM premis_object WHERE object = %s AND sequence > %s",
        "ORDER BY sequence LIMIT %s) o ON o.event_id = e.event_id ORDER BY e.sequence",
    )
)


def stored_from(found: Any) -> Stored:
    """A row of SELECT as a value."""
    values = list(found)
    for position in (4, 5, 6):
        values[position] = _EPOCH + timedelta(microseconds=values[position])
    values[10] = _outcomes(values[10])
    return Stored(*values)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def _outcomes(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


_APPEND = f"SELECT taken FROM premis_append({', '.join(['%s'] * 18)})"  # noqa: S608 - marks only
_APPEND_ONE = f"SELECT premis_append_one({', '.join(['%s'] * 18)})"
_ENTRY_TYPES = (
    "account_id uuid, actor text, means text, action text, outcome text, method text, path text, status integer, "
    "objects text[], address text"
)
_ENTRY = ", ".join(column.split()[0] for column in _ENTRY_TYPES.split(", "))
_APPEND_NOTED = (
    f"WITH done AS ({_APPEND}), noted AS (INSERT INTO audit_entry ({_ENTRY}) SELECT {_ENTRY} "  # noqa: S608
    f"FROM json_to_recordset(CAST(%s AS json)) AS n (number integer, {_ENTRY_TYPES}) "
    "WHERE NOT EXISTS (SELECT FROM done WHERE taken = n.number) ORDER BY n.number) SELECT taken FROM done"
)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _json(value: object) -> str:
    return _encode(value)


def _old_links(stored: Stored) -> dict[str, list[str]]:
    event = stored.event
    return {
        "old": [object_key(each.value) for each in event.objects],
        "old_agents": [object_key(each.value) for each in event.agents],
    }


def _supersede(connection: Connection, stored: Stored, values: tuple[object, ...]) -> None:
    done = connection.exec_driver_sql(
        "SELECT premis_supersede(%s, %s, %s, %s, %s, %s, %s, %s)", (stored.event_id, stored.version, *values)
    ).scalar_one()
    if not done:
        raise ChangedMeanwhile(f"Event {stored.identifier} was changed by somebody else meanwhile.")
