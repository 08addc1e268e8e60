"""An AIP becomes usable on the built-in access pages, which read its files by range out of the tar.

Nothing is copied: the dissemination package is derived from the AIP at every request. What it holds is decided here, by
the same policy as on other access systems, and noted as the Archive's offer. Before the address is given out a sample
of what is offered is fetched the way a reader will fetch it and compared with its digests, so that no page ever offers
what cannot be had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perdura.clients.destinations import ACCESS_PAGES, Destination
from perdura.errors import Broken, Rejected
from perdura.on_demand import OnDemand
from perdura.outcome import ArchiveView, Finding, Package
from perdura.packages.aip_index import Entry
from perdura.ports import Offer, Ports
from perdura.premis.model import FAILURE, SUCCESS
from perdura.steps import dip, landing_page
from perdura.steps.publish_decided import is_withdrawn
from perdura.steps.publish_result import Result, disseminated
from perdura.steps.stored_package import pinned
from perdura.storage.store import Store

SAMPLE_FILES = 16
SAMPLE_BYTES = 64 * 2**20
"""Bytes read at most for the check; files that do not fit are passed over, one file is always read."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found: files that are offered, those that were read, those that were wrong."""

    files: int
    read: int
    findings: tuple[Finding, ...]


def publish(archive: ArchiveView, aip: Package, destination: Destination, ports: Ports) -> Result:
    """Publish the Archive's AIP on the access pages; what is restricted or was withdrawn is left out, and says so.

    Input: `after_withdrawal` when a person wants it shown again all the same.

    Raises Broken without a registry or where the AIP's index is gone, Rejected when the policy cannot be met.
    """
    if archive.restricted:
        return Result(ACCESS_PAGES, output={"withheld": "The Archive is restricted."})
    placements = ports.placements
    if placements is None:
        raise Broken("The publication on the access pages needs the registry.", code="no-registry")
    known = placements.known(ACCESS_PAGES, archive.id)
    again = archive.step.input.get("after_withdrawal") is True
    undone = known is not None and known.state == "withdrawn" and not again
    if undone or is_withdrawn(ACCESS_PAGES, placements.standing(archive.id), ports):
        return _withdrawn()
    decided, chosen = _decided(aip, dip.entries_of(aip, ports.store), destination, ports.store)
    checked = check(aip, chosen, ports.store)
    if checked.findings:
        return _unreadable(archive, aip, checked, ports)
    offered = _offer(aip, decided, chosen)
    if not placements.offer(ACCESS_PAGES, archive.id, offered, known if again else None):
        return _withdrawn()
    return _published(archive, aip, offered, checked, ports)


def _withdrawn() -> Result:
    return Result(ACCESS_PAGES, output={"withheld": "The Archive was withdrawn."})


def offer(aip: Package, entries: Sequence[Entry], destination: Destination, store: Store) -> Offer:
    """What the policy of the access pages offers of an AIP; who may have the whole of it may have every file of it."""
    return _offer(aip, *_decided(aip, entries, destination, store))


def _decided(
    aip: Package, entries: Sequence[Entry], destination: Destination, store: Store
) -> tuple[str, Sequence[dip.Chosen]]:
    """What is offered, and the files of it."""
    decided = dip.content_of(destination, entries)
    if decided == "metadata":
        return decided, ()
    return decided, dip.selected(aip, entries, destination.dip, store) if decided == "dip" else dip.payload(entries)


def _offer(aip: Package, decided: str, chosen: Sequence[dip.Chosen]) -> Offer:
    def named(number: int) -> tuple[str, str]:
        return chosen[number].name, chosen[number].entry.member.path

    size = sum(each.entry.member.size for each in chosen)
    return Offer(aip.id, decided, OnDemand(len(chosen), named) if chosen else (), size)


def check(aip: Package, offered: Sequence[dip.Chosen], store: Store) -> Checked:
    """Read a sample of the offered files by range and compare it with the digests of the index."""
    chosen = affordable([offered[position].entry for position in sorted(sample_positions(len(offered)))])
    ref = pinned(aip)
    wrong = tuple(
        Finding("unreadable-file", "Its bytes are not those of the index.", path=entry.member.path)
        for entry in chosen
        if _sha256(store.stream(ref, entry.member.offset, entry.member.size)) != entry.member.digests["sha256"]
    )
    return Checked(len(offered), len(chosen), wrong)


def sample_positions(members: int) -> frozenset[int]:
    """At most SAMPLE_FILES positions, spread evenly over so many members; the same ones every time."""
    count = min(SAMPLE_FILES, members)
    return frozenset(position * members // count for position in range(count))


def affordable(entries: Sequence[Entry]) -> list[Entry]:
    """Those entries, in their order, that fit into SAMPLE_BYTES; the smallest one when none does."""
    chosen: list[Entry] = []
    room = SAMPLE_BYTES
    for entry in entries:
        if entry.member.size <= room:
            chosen.append(entry)
            room -= entry.member.size
    if chosen or not entries:
        return chosen
    return [min(entries, key=lambda entry: entry.member.size)]


def _sha256(chunks: Iterable[memoryview]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _published(archive: ArchiveView, aip: Package, offered: Offer, checked: Checked, ports: Ports) -> Result:
    url = landing_page.address(archive, ports.settings)
    note = f"{checked.read} of {checked.files} files read by range and found as their digests say"
    if offered.content == "metadata":
        note = "only its description is shown"
    elif not offered.files:
        note = "the AIP has no index: it can be had as a whole only"
    return Result(
        ACCESS_PAGES,
        url=url,
        output={"offered": offered.content, "checked": {"files": checked.files, "read": checked.read}},
        events=(disseminated(archive, aip, ports, ACCESS_PAGES, f"published at {url}", SUCCESS, note),),
    )


def _unreadable(archive: ArchiveView, aip: Package, checked: Checked, ports: Ports) -> Result:
    message = f"{len(checked.findings)} of {checked.read} files read out of the AIP are not what the index says."
    return Result(
        ACCESS_PAGES,
        error=Rejected(message, code="unreadable-aip"),
        findings=checked.findings,
        events=(disseminated(archive, aip, ports, ACCESS_PAGES, "not published", FAILURE, message),),
    )
