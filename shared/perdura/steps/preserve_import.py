"""The producer's own PREMIS: its events and agents become part of the AIP's history and of the log.

Its objects are compared with the files; its licences are stated as those of other descriptions. The rest of what it
says of objects and rights stays in the document, which is kept.
It is read as a stream, for it may have many events; what may not be read is kept in the AIP as it came, with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

from lxml import etree

from perdura.errors import Rejected
from perdura.ids import derived_id
from perdura.outcome import Finding
from perdura.packages.spool import Spool
from perdura.premis.model import Agent, Event, Identifier
from perdura.premis.xml import LONGEST_VALUE, BadPremis, agent_from, event_from, event_xml, sent_identifier
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
_MOST = 100

Read = Callable[[], Iterable[bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read: events as PREMIS 3 elements with their ids, the agents that they name, and those described."""

    ids: list[UUID] = field(default_factory=list)
    texts: Spool = field(default_factory=Spool)
    named: dict[tuple[str, str], None] = field(default_factory=dict)
    agents: dict[tuple[str, str], Agent] = field(default_factory=dict)
    licences: dict[tuple[str, str], None] = field(default_factory=dict)
    """(terms, address) of the licences in its rights statements."""
    findings: list[Finding] = field(default_factory=list)


class Files(Protocol):
    """The files of the submission as a document may name them."""

    def number(self, path: str, /) -> int | None:
        """Number of the file of that path in the submission."""
        ...

    def id(self, number: int, /) -> str:
        """Identifier of a file."""
        ...

    def said(self, number: int, /) -> Mapping[str, str]:
        """What is known of its bytes: `size`, and hex digests by algorithm."""
        ...


def imported(path: str, size: int, read: Read, archive: UUID, files: Files, now: datetime) -> Imported:
    """Read a PREMIS document of any version; `read` begins its bytes anew at each call.

    Events keep their dates, agents and links, and are linked to the Archive and to the objects of the files they
    speak of. Their identifiers become notes: a deposit must not be able to take an identifier of our log. A
    document that cannot be read is a warning, and so is one larger than `LARGEST`, or one that says something else of
    a file's bytes than they are.
    """
    with ExitStack() as given_up:
        found = Imported()
        given_up.callback(found.texts.close)
        try:
            if size > LARGEST:
                raise BadPremis(f"it has {size} bytes, {LARGEST} are read")
            _read(found, path, read, archive, files, now)
        except Rejected as error:
            message = f"{path} could not be read as PREMIS and is only kept: {error.message}"
            return Imported(findings=[Finding("premis-not-read", message, "warning", path)])
        given_up.pop_all()
    return found


def _read(found: Imported, path: str, read: Read, archive: UUID, files: Files, now: datetime) -> None:
    names: dict[str, str] = {}
    for kind, element in parts(read()):
        if kind == "object":
            names.update(_names(element))
            found.findings.extend(_contradictions(path, element, files)[: _MOST - len(found.findings)])
        elif kind == "rights" and len(found.licences) < _MOST:
            found.licences.update(dict.fromkeys(_licences(element)))
    for kind, element in parts(read()):
        if kind == "agent":
            agent = agent_from(element)
            found.agents.setdefault((agent.identifier.type, agent.identifier.value), agent)
        elif kind == "event":
            number, sent = len(found.ids), sent_identifier(element)
            event = _event(element, derived_id("imported event", archive, path, number, sent), sent, now)
            links = (*event.objects, *_files(event, names, files), Identifier("UUID", str(archive)))
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


def _names(element: etree._Element) -> Iterator[tuple[str, str]]:
    """(identifier, original name) of an object."""
    name = (element.findtext("{*}originalName") or "").strip()
    for value in element.iterfind("{*}objectIdentifier/{*}objectIdentifierValue"):
        if name and value.text:
            yield value.text.strip(), name


def _contradictions(document: str, element: etree._Element, files: Files) -> list[Finding]:
    """Where an object says another size or digest of its file than that has."""
    number = _number((element.findtext("{*}originalName") or "").strip(), files)
    if number is None:
        return []
    known, about = files.said(number), "{*}objectCharacteristics/"
    said = [("size", (element.findtext(f"{about}{{*}}size") or "").strip())]
    for fixity in element.iterfind(f"{about}{{*}}fixity"):
        algorithm = (fixity.findtext("{*}messageDigestAlgorithm") or "").strip().lower().replace("-", "")
        said.append((algorithm, (fixity.findtext("{*}messageDigest") or "").strip().lower()))
    name = element.findtext("{*}originalName")
    return [
        Finding(
            "premis-contradicts", f"{document}: {name} has {kind} {known[kind]}, not {value[:200]}", "warning", document
        )
        for kind, value in said
        if value and kind in known and value != known[kind]
    ]


def _licences(element: etree._Element) -> Iterator[tuple[str, str]]:
    """(terms, address) of the licences in a `rights` element (PREMIS 3.0, 4.1.4)."""
    for licence in element.iter("{*}licenseInformation"):
        terms = " ".join((licence.findtext("{*}licenseTerms") or "").split())[:LONGEST_VALUE]
        address = licence.findtext("{*}licenseDocumentationIdentifier/{*}licenseDocumentationIdentifierValue") or ""
        address = address.strip() if address.strip().startswith(("https://", "http://")) else ""
        if terms or address:
            yield terms or address[:LONGEST_VALUE], address[:LONGEST_VALUE]


def _files(event: Event, names: Mapping[str, str], files: Files) -> list[Identifier]:
    numbers = [_number(names.get(link.value, link.value), files) for link in event.objects]
    return [Identifier("UUID", files.id(number)) for number in numbers if number is not None]


def _number(name: str, files: Files) -> int | None:
    """The file that a document means by a name."""
    for path in (name, f"data/{name}", f"data/{name.removeprefix('objects/')}"):
        if (number := files.number(path)) is not None:
            return number
    return None
