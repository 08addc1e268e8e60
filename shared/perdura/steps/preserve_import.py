"""The producer's own PREMIS: its events and agents become part of the AIP's history and of the log.

It is read as a stream, for it may have many events; what may not be read is kept in the AIP as it came, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from lxml import etree

from perdura.errors import Rejected
from perdura.ids import derived_id
from perdura.outcome import Finding
from perdura.packages.spool import Spool
from perdura.premis.model import Agent, Event, Identifier
from perdura.premis.xml import BadPremis, agent_from, event_from, event_xml, sent_identifier
from perdura.premis.xml.stream import parts

PLACES = tuple(
    f"{root}{directory}premis.xml"
    for root in ("", "data/")
    for directory in ("", "meta/", "metadata/", "metadata/preservation/")
)
"""Where in a SIP a producer's PREMIS document is looked for."""

LARGEST = 256 * 2**20
"""Bytes of such a document that are read: some 200,000 events."""
_AGENTS = 10_000

Read = Callable[[], Iterable[bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read: events as PREMIS 3 elements with their ids, the agents that they name, and those described."""

    ids: list[UUID] = field(default_factory=list)
    texts: Spool = field(default_factory=Spool)
    named: dict[tuple[str, str], None] = field(default_factory=dict)
    agents: dict[tuple[str, str], Agent] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


def imported(
    path: str, size: int, read: Read, archive: UUID, ids_by_path: Mapping[str, str], now: datetime
) -> Imported:
    """Read a PREMIS document of any version; `read` begins its bytes anew at each call.

    Events keep their dates, agents and links, and are linked to the Archive and to the objects of the files they
    speak of. Their identifiers become notes: a deposit must not be able to take an identifier of our log. A
    document that cannot be read is a warning, and so is one larger than `LARGEST`.
    """
    with ExitStack() as given_up:
        found = Imported()
        given_up.enter_context(found.texts)
        try:
            if size > LARGEST:
                raise BadPremis(f"it has {size} bytes, {LARGEST} are read")
            _read(found, path, read, archive, ids_by_path, now)
        except Rejected as error:
            message = f"{path} could not be read as PREMIS and is only kept: {error.message}"
            return Imported(findings=(Finding("premis-not-read", message, "warning", path),))
        given_up.pop_all()
    return found


def _read(found: Imported, path: str, read: Read, archive: UUID, ids_by_path: Mapping[str, str], now: datetime) -> None:
    names = dict(_names(read()))
    for kind, element in parts(read()):
        if kind == "agent":
            agent = agent_from(element)
            found.agents.setdefault((agent.identifier.type, agent.identifier.value), agent)
        elif kind == "event":
            number, sent = len(found.ids), sent_identifier(element)
            event = _event(element, derived_id("imported event", archive, path, number, sent), sent, now)
            links = (*event.objects, *_files(event, names, ids_by_path), Identifier("UUID", str(archive)))
            found.ids.append(event.id)
            found.texts.add(event_xml(replace(event, objects=links), "3.0"))
            found.named.update(dict.fromkeys((link.type, link.value) for link in event.agents))
        if len(found.agents) + len(found.named) > _AGENTS:
            raise BadPremis(f"it names more than {_AGENTS} agents")


def _event(element: etree._Element, identity: UUID, sent: str, now: datetime) -> Event:
    event = event_from(element, now=now)
    return replace(
        event,
        id=identity,
        identifier=str(identity),
        identifier_type="UUID",
        identifier_attributes=(),
        details=(*event.details, f"identifier given by the producer: {sent or 'none'}"),
    )


def _names(chunks: Iterable[bytes | memoryview]) -> Iterator[tuple[str, str]]:
    """(object identifier, original name) of every object of the document."""
    for kind, element in parts(chunks):
        if kind != "object":
            continue
        name = element.findtext("{*}originalName")
        for value in element.iterfind("{*}objectIdentifier/{*}objectIdentifierValue"):
            if name and value.text:
                yield value.text.strip(), name.strip()


def _files(event: Event, names: Mapping[str, str], ids_by_path: Mapping[str, str]) -> list[Identifier]:
    found = []
    for link in event.objects:
        name = names.get(link.value, link.value)
        for path in (name, f"data/{name}", f"data/{name.removeprefix('objects/')}"):
            if path in ids_by_path:
                found.append(Identifier("UUID", ids_by_path[path]))
                break
    return found
