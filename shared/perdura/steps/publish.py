"""publish: an AIP becomes usable on the built-in access pages, which read its files by range out of the tar.

Nothing is copied: the dissemination package is derived from the AIP at every request. Before the address is given
out, the AIP's index is read and a sample of its files is fetched the way a reader will fetch them and compared with
their digests, so that no page ever offers what cannot be had.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from perdura import __version__
from perdura.errors import Broken, NotStored
from perdura.outcome import ArchiveView, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.packages.aip_index import Entry, decode
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.storage.store import ObjectRef, Store

DESTINATION = "access-pages"
SAMPLE_FILES = 16
SAMPLE_BYTES = 64 * 2**20
"""Bytes read at most for the check; files that do not fit are passed over, one file is always read."""

SOFTWARE = Identifier("software", f"perdura/{__version__} publish", ("executing program",))


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check found: files of the AIP in all, those that were read, those that were wrong."""

    files: int
    read: int
    findings: tuple[Finding, ...]


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Publish the Archive's AIP on the access pages; a restricted Archive is left unpublished, and says so.

    Raises Broken when there is no AIP or no index to publish from.
    """
    aip = archive.package(PackageKind.AIP)
    if aip is None:
        raise Broken("There is no AIP to publish.", code="no-aip")
    if archive.restricted:
        return Outcome(output={"publication": None, "withheld": "The Archive is restricted."})
    if aip.index_key is None:
        return _published(archive, aip, None, ports)
    checked = check(aip, aip.index_key, ports.store)
    if checked.findings:
        return _unreadable(archive, aip, checked, ports)
    return _published(archive, aip, checked, ports)


def check(aip: Package, index_key: str, store: Store) -> Checked:
    """Read a sample of the AIP's files by range and compare it with the digests of the index."""
    try:
        index = store.head(aip.bucket, index_key)
    except NotStored:
        raise Broken("The index of the AIP is not in the store.", code="no-index") from None
    header, entries = decode(lines(store.stream(index.ref)))
    wanted = sample_positions(header.members)
    chosen = affordable([entry for position, entry in enumerate(entries) if position in wanted])
    ref = ObjectRef(aip.bucket, aip.key, aip.version_id, aip.etag)
    wrong = tuple(
        Finding("unreadable-file", "Its bytes are not those of the index.", path=entry.member.path)
        for entry in chosen
        if _sha256(store.stream(ref, entry.member.offset, entry.member.size)) != entry.member.digests["sha256"]
    )
    return Checked(header.members, len(chosen), wrong)


def lines(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The lines of a text that comes in chunks, without their ends."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + bytes(chunk)).split(b"\n")
        yield from whole
    if rest:
        yield rest


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


def _published(archive: ArchiveView, aip: Package, checked: Checked | None, ports: Ports) -> Outcome:
    url = f"{ports.settings.access_url.rstrip('/')}/archives/{archive.id}"
    note = (
        f"{checked.read} of {checked.files} files read by range and found as their digests say"
        if checked is not None
        else "the AIP has no index: it can be had as a whole only"
    )
    return Outcome(
        output={
            "publication": {"url": url, "destination": DESTINATION},
            "checked": {"files": checked.files, "read": checked.read} if checked is not None else None,
        },
        events=(_event(archive, aip, ports, f"published at {url}", SUCCESS, note),),
        facts=(
            Fact(
                "org.perdura.dip.published.v1",
                {"archive": str(archive.id), "destination": DESTINATION, "url": url},
            ),
        ),
    )


def _unreadable(archive: ArchiveView, aip: Package, checked: Checked, ports: Ports) -> Outcome:
    message = f"{len(checked.findings)} of {checked.read} files read out of the AIP are not what the index says."
    return Outcome(
        state=StepState.FAILED,
        error_code="unreadable-aip",
        message=message,
        findings=checked.findings,
        events=(_event(archive, aip, ports, "not published", FAILURE, message),),
    )


def _event(archive: ArchiveView, aip: Package, ports: Ports, detail: str, outcome: str, note: str) -> Event:
    return Event(
        id=ports.derived("premis/dissemination"),
        type="dissemination",
        at=ports.clock.now(),
        details=(detail,),
        outcomes=(EventOutcome(outcome, (note,)),),
        agents=(SOFTWARE,),
        objects=(Identifier("UUID", str(aip.id), ("source",)), Identifier("UUID", str(archive.id))),
    )
