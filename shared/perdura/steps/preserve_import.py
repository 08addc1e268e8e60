"""The producer's own PREMIS: its events and agents become part of the AIP's history and of the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from lxml import etree

from perdura.errors import Rejected
from perdura.ids import derived_id
from perdura.outcome import Finding
from perdura.premis.model import Agent, Event, Identifier
from perdura.premis.xml import agent_from, agents_in, event_from, events_in, parse
from perdura.premis.xml.reader import sent_identifier

PLACES = tuple(
    f"{root}{directory}premis.xml"
    for root in ("", "data/")
    for directory in ("", "meta/", "metadata/", "metadata/preservation/")
)
"""Where in a SIP a producer's PREMIS document is looked for."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read: events, agents, and what could not be read."""

    events: tuple[Event, ...] = ()
    agents: tuple[Agent, ...] = ()
    findings: tuple[Finding, ...] = ()


def imported(path: str, text: bytes, archive: UUID, ids_by_path: Mapping[str, str], now: datetime) -> Imported:
    """Read a PREMIS document of any version.

    Events keep their dates, agents and links, and are linked to the Archive and to the objects of the files they
    speak of. Their identifiers become notes: a deposit must not be able to take an identifier of our log. A
    document that cannot be read is a warning: it is kept in the AIP as it came.
    """
    try:
        root = parse(text)
        names = _names(root)
        events = []
        for number, element in enumerate(events_in(root)):
            event = event_from(element, now=now)
            links = (*event.objects, *_files(event, names, ids_by_path), Identifier("UUID", str(archive)))
            sent = sent_identifier(element)
            identity = derived_id("imported event", archive, path, number, sent)
            details = (*event.details, f"identifier given by the producer: {sent or 'none'}")
            events.append(
                replace(
                    event,
                    id=identity,
                    identifier=str(identity),
                    identifier_type="UUID",
                    identifier_attributes=(),
                    details=details,
                    objects=links,
                )
            )
        return Imported(tuple(events), tuple(agent_from(element) for element in agents_in(root)))
    except Rejected as error:
        message = f"{path} could not be read as PREMIS and is only kept: {error.message}"
        return Imported(findings=(Finding("premis-not-read", message, "warning", path),))


def _names(root: etree._Element) -> dict[str, str]:
    """Object identifier → original name, for every object of the document."""
    names = {}
    for element in root.iter("{*}object"):
        name = element.findtext("{*}originalName")
        for value in element.iterfind("{*}objectIdentifier/{*}objectIdentifierValue"):
            if name and value.text:
                names[value.text.strip()] = name.strip()
    return names


def _files(event: Event, names: Mapping[str, str], ids_by_path: Mapping[str, str]) -> list[Identifier]:
    found = []
    for link in event.objects:
        name = names.get(link.value, link.value)
        for path in (name, f"data/{name}", f"data/{name.removeprefix('objects/')}"):
            if path in ids_by_path:
                found.append(Identifier("UUID", ids_by_path[path]))
                break
    return found
