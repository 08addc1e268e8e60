"""What is told of an AIP that the built-in engine made, with the index beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import overload

from perdura.outcome import Copy, Fact, File, Outcome, Package, PackageKind, StepState
from perdura.packages.aip import AipWriter
from perdura.packages.aip_check import read_back
from perdura.packages.aip_index import Entry, Header, encode
from perdura.packages.aip_members import Member
from perdura.ports import Identification
from perdura.steps.preserve_builtin_plan import Plan
from perdura.steps.preserve_copied import Copied
from perdura.steps.preserve_events import Act
from perdura.steps.preserve_history import History
from perdura.steps.preserve_scanning import unscanned
from perdura.storage.store import Written
from perdura.storage.timed import timed


def made(
    plan: Plan, aip: AipWriter, copied: Copied, acts: Sequence[Act], history: History, written: Written
) -> Outcome:
    """The AIP as it was stored and read back, with its index beside it."""
    verified_at = plan.ports.clock.now()
    ref = written.info.ref
    uri = f"s3://{ref.bucket}/{ref.key}"
    package = Package(
        id=plan.aip,
        kind=PackageKind.AIP,
        bucket=ref.bucket,
        key=ref.key,
        container="tar",
        size=written.info.size,
        version_id=ref.version_id,
        etag=ref.etag,
        checksums=dict(written.checksums),
        index_key=_index(plan, aip, copied, written),
        retain_until=plan.retain_until,
    )
    files = PayloadFiles(aip, copied)
    findings = (
        *unscanned(copied.files, plan.ports),
        *copied.characterising.findings,
        *copied.rights.findings,
        *history.findings,
    )
    return Outcome(
        StepState.COMPLETED_WITH_WARNINGS if findings else StepState.COMPLETED,
        output={"aip": str(plan.aip), "files": len(files), "size": written.info.size},
        packages=(package,),
        copies=(Copy(plan.aip, "object-store", uri, package.size, package.checksums, verified_at),),
        files=((plan.aip, files),),
        events=(
            *history.to_be_recorded(plan.ports),
            *(act.event for act in acts),
            plan.provenance.stored(uri, written.checksums["sha256"], verified_at),
        ),
        facts=(_fact(plan, package, len(files)),),
        findings=findings,
    )


def _index(plan: Plan, aip: AipWriter, copied: Copied, written: Written) -> str:
    """Store the index beside the AIP, read it back, and give its key."""
    key = plan.key.removesuffix(".tar") + ".index.jsonl"
    header = Header(
        aip=str(plan.aip),
        archive=str(plan.archive.id),
        base=str(plan.archive.id),
        size=written.info.size,
        checksums=written.checksums,
        members=len(aip.payload) + len(aip.tags),
    )
    with plan.ports.store.writer(plan.ports.settings.bucket_aips, key, content_type="application/x-ndjson") as sink:
        for line in encode(header, _entries(aip, copied)):
            sink.write(line)
        read_back(timed(plan.ports.store, plan.ports.deadline.near), sink.finish())
    return key


def _entries(aip: AipWriter, copied: Copied) -> Iterator[Entry]:
    """All members in the order of the tar; the copied files come first among the payload, by their numbers."""
    payload = (_entry(member, copied.files.format(number)) for number, member in enumerate(aip.payload))
    return merge(payload, (Entry(member) for member in aip.tags), key=lambda entry: entry.member.offset)


def _entry(member: Member, found: Identification | None) -> Entry:
    return Entry(member, found.key, found.name) if found else Entry(member)


class PayloadFiles(Sequence[File]):
    """The payload files of an AIP as the registry keeps them, made when they are asked for."""

    def __init__(self, aip: AipWriter, copied: Copied) -> None:
        self._members, self._files = aip.payload, copied.files

    def __len__(self) -> int:
        return len(self._members)

    @overload
    def __getitem__(self, number: int) -> File: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[File]: ...

    def __getitem__(self, number: int | slice) -> File | Sequence[File]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        member, found = self._members[number], self._files.format(number)
        return File(
            path=member.path,
            size=member.size,
            checksums=member.digests,
            offset=member.offset,
            format_name=found.name if found else None,
            format_key=found.key if found else None,
            media_type=found.media_type if found else None,
        )


def _fact(plan: Plan, package: Package, files: int) -> Fact:
    reference = {
        "id": str(package.id),
        "kind": str(package.kind),
        "bucket": package.bucket,
        "key": package.key,
        "version_id": package.version_id,
        "size": package.size,
        "checksums": dict(package.checksums),
    }
    data = {"archive": str(plan.archive.id), "package": reference, "files": files}
    return Fact("org.perdura.aip.created.v1", data)
