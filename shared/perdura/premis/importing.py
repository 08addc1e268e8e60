"""Events from elsewhere into the log: each once, however often it is imported; what cannot be read is named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from itertools import islice

from lxml import etree
from sqlalchemy.engine import Connection, Engine

from perdura.errors import Conflict, Rejected
from perdura.ids import derived_id
from perdura.premis import agents, log
from perdura.premis.json_form import event_from_json, sent_xml
from perdura.premis.model import Event, Identifier
from perdura.premis.rows import kind_of
from perdura.premis.xml import agent_from, agents_in, canonical, event_from, is_uuid, sent_identifier

TOGETHER = 500
"""Events that one transaction records."""


@dataclass(slots=True)
class Imported:
    """How many events were read, how many of them were new, and what could not be read."""

    read: int = 0
    new: int = 0
    refused: list[str] = field(default_factory=list)

    def __iadd__(self, other: Imported) -> Imported:
        self.read += other.read
        self.new += other.new
        self.refused += other.refused
        return self


@dataclass(frozen=True, slots=True)
class Foreign:
    """An event of elsewhere: its value, and its canonical XML if it came as XML."""

    event: Event
    sent: str | None = None


def from_element(
    element: etree._Element, *, origin: str, zone: tzinfo = UTC, also: Iterable[Identifier] = ()
) -> Foreign:
    """One event element of `origin`, linked to objects that its place shows.

    An identifier that is no UUID becomes one that is derived from it, so that importing again finds it. `zone` is that
    of dates without an offset. Raises Rejected.
    """
    event = event_from(element, zone=zone)
    sent = sent_identifier(element)
    if not is_uuid(sent):
        identity = derived_id("imported event", origin, sent or canonical(element))
        event = replace(event, id=identity, identifier=identity.hex)
    known = {each.value for each in event.objects}
    added = tuple(each for each in dict.fromkeys(also) if each.value not in known)
    if added:
        return Foreign(replace(event, objects=(*event.objects, *added)))
    return Foreign(event, canonical(element))


def from_lines(lines: Iterable[bytes], *, origin: str, zone: tzinfo = UTC) -> Iterator[Foreign | str]:
    """Events of NDJSON as the log writes it; what a line lacks is said in its place."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            event = event_from_json(value, zone=zone, otherwise=derived_id("imported event", origin, number))
            yield Foreign(event, sent_xml(value))
        except (ValueError, RecursionError):
            yield f"line {number}: no JSON"
        except Rejected as error:
            yield f"line {number}: {error.message}"


def record(engine: Engine, events: Iterable[Foreign | str], *, actor: str) -> Imported:
    """Record what is new of the events, some hundred in one transaction; texts among them are problems, and kept."""
    done = Imported()
    remaining = iter(events)
    while some := list(islice(remaining, TOGETHER)):
        found = [each for each in some if isinstance(each, Foreign)]
        with engine.begin() as connection:
            known = _append(connection, found, actor)
            others = _others(connection, known) if known else []
            known_too = _append(connection, others, actor)
        new = len(found) - len(known) + len(others) - len(known_too)
        done += Imported(len(found), new, [each for each in some if isinstance(each, str)])
    return done


def _append(connection: Connection, events: Sequence[Foreign], actor: str) -> list[Foreign]:
    """Add events to the log; gives back those whose identifiers are taken."""
    values, sent = [each.event for each in events], [each.sent for each in events]
    return [events[position] for position in log.append_free(connection, values, actor=actor, sent=sent)]


def _others(connection: Connection, known: Sequence[Foreign]) -> list[Foreign]:
    """Those that are no event of the log, which has their UUID in another spelling, by identifiers of their own.

    The seed service takes each spelling of a UUID for another identifier (premis.md 4.6).
    """
    found = connection.exec_driver_sql(
        "SELECT event_id, identifier, at, kind_id FROM premis_event WHERE event_id = ANY (CAST(%s AS uuid[]))",
        ([str(each.event.id) for each in known],),
    )
    there = {event_id: (identifier, at, kind) for event_id, identifier, at, kind in found}
    others = []
    for each in known:
        spelling = each.event.identifier_value
        identifier, at, kind = there.get(each.event.id, (spelling, None, None))
        if identifier != spelling and (at, kind) != (each.event.at, kind_of(each.event)[0]):
            identity = derived_id("imported event", "spelling", spelling)
            others.append(replace(each, event=replace(each.event, id=identity, identifier=identity.hex)))
    return others


def record_agents(engine: Engine, root: etree._Element) -> int:
    """Register the agents of a document that are not registered yet; gives how many were."""
    added = 0
    for element in agents_in(root):
        try:
            with engine.begin() as connection:
                agents.create(connection, agent_from(element))
            added += 1
        except (Conflict, Rejected):
            continue
    return added
