"""The dissemination package: files of an AIP chosen by a policy, as they are, or written as one zip.

A DIP is derived, never invented: its PREMIS document says from which AIP (relationship *derivation*, *has source*),
and the act is an event in the log. The zip is streamed from store to store; nothing of it is held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal
from uuid import UUID

from lxml import etree

from perdura import __version__
from perdura.clients.destinations import Choice, Destination
from perdura.errors import Broken, NotStored, Rejected
from perdura.ids import derived_id
from perdura.outcome import Package, PackageKind
from perdura.packages import aip_payload, zip_stream
from perdura.packages.aip_index import Entry, Header, decode, lines
from perdura.ports import Ports
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome
from perdura.premis.xml.writer import document, object_element
from perdura.steps.dip_copies import chosen_copies
from perdura.steps.stored_package import pinned
from perdura.storage.runs import Runs
from perdura.storage.store import Store

Read = Callable[[int, int], Iterator[memoryview]]
"""Gives the bytes of a file from an offset on, so many of them."""

_PREMIS = "{http://www.loc.gov/premis/v3}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file of a DIP: its name there, and where it lies in the AIP."""

    name: str
    entry: Entry


def index_of(aip: Package, store: Store) -> tuple[Header, Iterator[Entry]]:
    """The index of an AIP; raises Broken when it is not in the store."""
    try:
        info = store.head(aip.bucket, aip.index_key or "")
    except NotStored:
        raise Broken("The index of the AIP is not in the store.", code="no-index") from None
    return decode(lines(store.stream(info.ref)))


def content_of(destination: Destination, entries: Sequence[Entry]) -> Literal["metadata", "dip", "aip"]:
    """What a destination gets of an AIP with these files: what its policy says.

    An AIP whose files nobody can tell apart goes there as a whole where all of them are wanted; raises Rejected where
    the policy chooses among them.
    """
    if destination.content != "dip" or entries:
        return destination.content
    if destination.dip != Choice():
        message = "The policy of this destination chooses files, and this AIP has no index of its files."
        raise Rejected(message, code="dip-no-index")
    return "aip"


def selected(aip: Package, entries: Sequence[Entry], choice: Choice, store: Store) -> list[Chosen]:
    """The files of the DIP that a policy makes of an AIP, in the order of the AIP; raises as `choose` does."""
    copies = None if choice.copies == "all" else chosen_copies(aip, entries, choice.copies, store)
    return choose(entries, choice, copies)


def choose(entries: Sequence[Entry], choice: Choice, copies: Collection[str] | None = None) -> list[Chosen]:
    """The files that a policy takes out of all of an AIP; only those in `copies` (paths in the AIP) when that is given.

    Raises Rejected when none is left, or when names without folders fall together.
    """
    payload = aip_payload.names(entry.member.path for entry in entries)
    chosen: list[Chosen] = []
    names: set[str] = set()
    for entry in entries:
        path = payload.get(entry.member.path)
        if path is None or (copies is not None and entry.member.path not in copies):
            continue
        if not _matches(path, choice.include) or _matches(path, choice.exclude):
            continue
        name = path.rpartition("/")[2] if choice.names == "flat" else path
        if name in names:
            raise Rejected(f"Two files of the DIP would be called {name!r}; keep their folders.", code="dip-names")
        names.add(name)
        chosen.append(Chosen(name, entry))
    if not chosen:
        raise Rejected("The policy of this destination chooses no file of the AIP.", code="dip-empty")
    return chosen


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def runs(aip: Package, chosen: Sequence[Chosen], store: Store) -> Runs:
    """A reader for the bytes of these files."""
    ref = pinned(aip)
    return Runs(store, ref, [(each.entry.member.offset, each.entry.member.size) for each in chosen])


def identity(aip: Package, destination: str, chosen: Sequence[Chosen]) -> UUID:
    """The id of the DIP of these files for a destination: the same ones always make the same DIP."""
    names = "\0".join(f"{each.name}\0{each.entry.member.path}" for each in chosen)
    return derived_id("dip", aip.id, destination, hashlib.sha256(names.encode()).hexdigest())


def write_zip(aip: Package, chosen: Sequence[Chosen], dip: UUID, made: Event, ports: Ports) -> Package:
    """The DIP as one stored zip: its files below `objects/`, `premis.xml` beside them.

    `made` tells of the making: the same attempt of a step always writes the same bytes under the same key.
    """
    reader = runs(aip, chosen, ports.store)
    premis = premis_document(dip, aip.id, made)

    def bytes_of(entry: Entry) -> zip_stream.Chunks:
        return lambda: reader.read(entry.member.offset, entry.member.size)

    entries = [zip_stream.Entry("premis.xml", len(premis), lambda: (premis,))]
    entries += [
        zip_stream.Entry(f"objects/{each.name}", each.entry.member.size, bytes_of(each.entry)) for each in chosen
    ]
    size = zip_stream.length(entries)
    key = f"{aip.id}/{dip}.zip"
    with ports.store.writer(
        ports.settings.bucket_dips, key, size=size, algorithms=("sha256", "md5"), content_type="application/zip"
    ) as writer:
        for chunk in zip_stream.stream(entries, made.at):
            writer.write(chunk)
        written = writer.finish()
    ref = written.info.ref
    return Package(dip, PackageKind.DIP, ref.bucket, ref.key, "zip", size, ref.version_id, ref.etag, written.checksums)


def made_event(identifier: UUID, dip: UUID, aip: UUID, destination: str, files: int, at: datetime) -> Event:
    """The making of a DIP: what it was made of, and for whom."""
    return Event(
        id=identifier,
        type="information package creation",
        at=at,
        details=(f"A DIP of {files} files was made of the AIP for {destination}",),
        outcomes=(Outcome(SUCCESS, ("every file is as it lies in the AIP",)),),
        agents=(Identifier("software", f"perdura/{__version__} publish", ("executing program",)),),
        objects=(Identifier("UUID", str(aip), ("source",)), Identifier("UUID", str(dip), ("outcome",))),
    )


def premis_document(dip: UUID, aip: UUID, event: Event) -> bytes:
    """PREMIS 3.0 of a DIP: a representation derived from the AIP, and the event that made it."""
    representation = object_element([Identifier("UUID", str(dip))])
    representation.set("{http://www.w3.org/2001/XMLSchema-instance}type", "premis:representation")
    relationship = etree.SubElement(representation, f"{_PREMIS}relationship")
    etree.SubElement(relationship, f"{_PREMIS}relationshipType").text = "derivation"
    etree.SubElement(relationship, f"{_PREMIS}relationshipSubType").text = "has source"
    for stem, value in (("relatedObject", str(aip)), ("relatedEvent", str(event.id))):
        identifier = etree.SubElement(relationship, f"{_PREMIS}{stem}Identifier")
        etree.SubElement(identifier, f"{_PREMIS}{stem}IdentifierType").text = "UUID"
        etree.SubElement(identifier, f"{_PREMIS}{stem}IdentifierValue").text = value
    root = document([representation], [event], ())
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))
