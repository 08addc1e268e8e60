"""An AIP becomes usable on the built-in access pages, which read its files by range out of the tar.

Nothing is copied: the dissemination package is derived from the AIP at every request. Before the address is given
out, the AIP's index is read and a sample of its files is fetched the way a reader will fetch them and compared with
their digests, so that no page ever offers what cannot be had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from perdura.clients.destinations import ACCESS_PAGES
from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Finding, Package
from perdura.packages.aip_index import Entry
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS
from perdura.steps.dip import index_of
from perdura.steps.publish_result import Result, disseminated
from perdura.steps.stored_package import pinned
from perdura.storage.store import Store

SAMPLE_FILES = 16
SAMPLE_BYTES = 64 * 2**20
"""Bytes read at most for the check; files that do not fit are passed over, one file is always read."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found: files of the AIP in all, those that were read, those that were wrong."""

    files: int
    read: int
    findings: tuple[Finding, ...]


def publish(archive: ArchiveView, aip: Package, ports: Ports) -> Result:
    """Publish the Archive's AIP on the access pages; a restricted Archive is left unpublished, and says so.

    Raises Broken when there is no index to publish from.
    """
    if archive.restricted:
        return Result(ACCESS_PAGES, output={"withheld": "The Archive is restricted."})
    if aip.index_key is None:
        return _published(archive, aip, None, ports)
    checked = check(aip, ports.store)
    if checked.findings:
        return _unreadable(archive, aip, checked, ports)
    return _published(archive, aip, checked, ports)


def check(aip: Package, store: Store) -> Checked:
    """Read a sample of the AIP's files by range and compare it with the digests of the index."""
    header, entries = index_of(aip, store)
    wanted = sample_positions(header.members)
    chosen = affordable([entry for position, entry in enumerate(entries) if position in wanted])
    ref = pinned(aip)
    wrong = tuple(
        Finding("unreadable-file", "Its bytes are not those of the index.", path=entry.member.path)
        for entry in chosen
        if _sha256(store.stream(ref, entry.member.offset, entry.member.size)) != entry.member.digests["sha256"]
    )
    return Checked(header.members, len(chosen), wrong)


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


def _published(archive: ArchiveView, aip: Package, checked: Checked | None, ports: Ports) -> Result:
    url = f"{ports.settings.access_url.rstrip('/')}/archives/{archive.id}"
    note = (
        f"{checked.read} of {checked.files} files read by range and found as their digests say"
        if checked is not None
        else "the AIP has no index: it can be had as a whole only"
    )
    return Result(
        ACCESS_PAGES,
        url=url,
        output={"checked": {"files": checked.files, "read": checked.read} if checked is not None else None},
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
