"""The dissemination package: files of an AIP chosen by a policy, as they are, or written as one zip (`dip_zip`).

A DIP is derived, never invented: its PREMIS document says from which AIP (relationship *derivation*, *has source*),
and the act is an event in the log.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Literal
from uuid import UUID

from lxml import etree

from perdura import __version__
from perdura.clients.destinations import Choice, Destination
from perdura.errors import Broken, NotStored, Rejected
from perdura.ids import derived_id
from perdura.on_demand import OnDemand
from perdura.outcome import Package
from perdura.packages import aip_payload
from perdura.packages.aip_index import Entries, Entry, decode, lines
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome
from perdura.premis.xml.writer import document, object_element
from perdura.steps.dip_copies import chosen_copies
from perdura.steps.stored_package import pinned
from perdura.storage.runs import Runs
from perdura.storage.store import Store

Read = Callable[[int, int], Iterator[memoryview]]
"""Gives the bytes of a file from an offset on, so many of them."""

_PARTS = 16
_PREMIS = "{http://www.loc.gov/premis/v3}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file of a DIP: its name there, and where it lies in the AIP."""

    name: str
    entry: Entry


def entries_of(aip: Package, store: Store) -> Entries:
    """All files of an AIP that has an index, else none; raises Broken when its index is not in the store."""
    if not aip.index_key:
        return Entries()
    try:
        info = store.head(aip.bucket, aip.index_key)
    except NotStored:
        raise Broken("The index of the AIP is not in the store.", code="no-index") from None
    return Entries(decode(lines(store.stream(info.ref)))[1])


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


def selected(aip: Package, entries: Sequence[Entry], choice: Choice, store: Store) -> Sequence[Chosen]:
    """The files of the DIP that a policy makes of an AIP, in the order of the AIP; raises as `choose` does."""
    copies = None if choice.copies == "all" else chosen_copies(aip, entries, choice.copies, store)
    return choose(entries, choice, copies)


def choose(entries: Sequence[Entry], choice: Choice, copies: Collection[str] | None = None) -> Sequence[Chosen]:
    """The files that a policy takes out of all of an AIP; only those in `copies` (paths in the AIP) when that is given.

    Raises Rejected when none is left, or when names without folders fall together.
    """

    def is_wanted(path: str, name: str) -> bool:
        if copies is not None and path not in copies:
            return False
        return _matches(name, choice.include) and not _matches(name, choice.exclude)

    chosen = payload(entries, is_wanted, flat=choice.names == "flat")
    if not chosen:
        raise Rejected("The policy of this destination chooses no file of the AIP.", code="dip-empty")
    twice = _repeated(each.name for each in chosen)
    if twice and (name := _repeated_name(each.name for each in chosen if hash(each.name) in twice)):
        raise Rejected(f"Two files of the DIP would be called {name!r}; keep their folders.", code="dip-names")
    return chosen


def payload(
    entries: Sequence[Entry], is_wanted: Callable[[str, str], bool] | None = None, *, flat: bool = False
) -> Sequence[Chosen]:
    """The payload files of an AIP, in its order, of which path and name are wanted; `flat` leaves folders out of names.

    They may be millions: of each is kept where it is among the entries.
    """
    layout = aip_payload.layout(entry.member.path for entry in entries)
    places = array("I")
    for place, entry in enumerate(entries):
        name = layout.name(entry.member.path)
        if name is not None and (is_wanted is None or is_wanted(entry.member.path, name)):
            places.append(place)

    def chosen(number: int) -> Chosen:
        entry = entries[places[number]]
        name = layout.name(entry.member.path) or ""
        return Chosen(name.rpartition("/")[2] if flat else name, entry)

    return OnDemand(len(places), chosen)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _repeated(names: Iterable[str]) -> Collection[int]:
    """Hashes that several names have: 8 bytes for each name, and a part of them sorted at a time."""
    hashes = array("q", map(hash, names))
    found: set[int] = set()
    for part in range(_PARTS):
        some = sorted(each for each in hashes if each % _PARTS == part)
        found.update(one for one, other in pairwise(some) if one == other)
    return found


def _repeated_name(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def runs(aip: Package, chosen: Sequence[Chosen], store: Store) -> Runs:
    """A reader for the bytes of these files."""
    ref = pinned(aip)
    return Runs(store, ref, ((each.entry.member.offset, each.entry.member.size) for each in chosen))


def identity(aip: Package, destination: str, chosen: Sequence[Chosen]) -> UUID:
    """The id of the DIP of these files for a destination: the same ones always make the same DIP."""
    names, before = hashlib.sha256(), ""
    for each in chosen:
        names.update(f"{before}{each.name}\0{each.entry.member.path}".encode())
        before = "\0"
    return derived_id("dip", aip.id, destination, names.hexdigest())


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
