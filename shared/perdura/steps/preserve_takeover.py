"""Takes over an AIP that an Archivematica stored: verified as it is, registered as it is (archivematica.md 6.4, 7).

The package stays byte for byte what Archivematica made. Its size and digests are compared with the Storage Service's
record and pointer file, its bag with its manifests, its METS with the bag, and the SIP's payload with all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from perdura.errors import NotStored, PerduraError, Rejected
from perdura.fleet import Archivematica, Stored, Submission
from perdura.outcome import ArchiveView, Copy, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.packages.mets_read import BadMets
from perdura.packages.pointer import Pointer, read_pointer
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps.preserve_events import EXECUTING, SOFTWARE
from perdura.steps.preserve_takeover_history import History, read_history
from perdura.steps.preserve_takeover_inside import Inside, look_inside
from perdura.storage.digests import adler32
from perdura.storage.store import ObjectInfo, ObjectRef

_SUFFIXES = {".7z": "7z", ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar.bz2": "tar.bz2", ".tar": "tar"}
_FINDINGS = 100


class NotYet(PerduraError):
    """The Storage Service does not show the package as stored yet."""

    code = "not-yet-stored"


class Flawed(Rejected):
    """The AIP is not what it must be; `findings` say where."""

    code = "aip-flawed"

    def __init__(self, message: str, findings: tuple[Finding, ...] = (), *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.findings = findings or (Finding(self.code, message),)


@dataclass(frozen=True, slots=True)
class Held:
    """The AIP where it is kept, with the digests of all of its bytes."""

    package: Package
    uri: str


def take_over(archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports) -> Outcome:
    """Verify and register the AIP of a submission, and its DIP where there is one.

    FAILED with `aip-flawed` (nothing is deleted) when it is not what it must be. Raises NotYet, and Retryable when the
    store or the Storage Service fails.
    """
    record = _record(submission, archivematica)
    try:
        pointer = _pointer(record, archivematica)
        held = _held(archive, record, pointer, archivematica, ports)
        with look_inside(held.package, record, archivematica, ports) as inside:
            history = read_history(archive, held.package, inside, pointer, ports)
            _complete(archive, history, ports)
            findings = (*inside.findings, *_failed_normalisations(submission, archivematica))
    except (Flawed, BadMets) as error:
        return _flawed(archive, record, error, ports)
    dips = [_dip(archive, dip, archivematica, ports) for dip in _dips(record, archivematica)]
    return _outcome(archive, held, dips, inside, history, findings, ports)


class Source(Protocol):
    """Where the bytes of a package that somebody else stored come from."""

    def download(self, package: UUID) -> AbstractContextManager[Iterator[bytes]]:
        """The package as a stream."""
        ...


def take_over_stored(archive: ArchiveView, record: Stored, source: Source, ports: Ports) -> Outcome:
    """Take over an AIP that lies nowhere but at `source`: copied to our bucket, verified inside and out.

    FAILED with `aip-flawed` and the like when it is not what it must be.
    """
    try:
        held = _copied(archive, record, _container(record), None, source, ports)
        with look_inside(held.package, record, None, ports) as inside:
            history = read_history(archive, held.package, inside, None, ports)
            _complete(archive, history, ports)
            findings = inside.findings
    except (Flawed, BadMets) as error:
        return _flawed(archive, record, error, ports)
    return _outcome(archive, held, [], inside, history, findings, ports)


def _record(submission: Submission, archivematica: Archivematica) -> Stored:
    if submission.sip is None:
        raise NotYet("Archivematica has not said which package it made.")
    record = archivematica.package(submission.sip)
    if record is None or record.status in {"PENDING", "STAGING", "MOVING", "FINALIZE"}:
        state = record.status if record else "not there"
        raise NotYet(f"The Storage Service's record of {submission.sip} is {state}.")
    return record


def _pointer(record: Stored, archivematica: Archivematica) -> Pointer | None:
    if record.status not in {"UPLOADED", "VERIFIED"}:
        raise Flawed(f"The Storage Service calls the package {record.status}.", code="aip-not-stored")
    text = archivematica.pointer(record.id)
    return read_pointer(text) if text is not None else None


def _container(record: Stored) -> str:
    name = record.name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "prefix")


def _held(
    archive: ArchiveView, record: Stored, pointer: Pointer | None, archivematica: Archivematica, ports: Ports
) -> Held:
    """Find the AIP in its bucket or copy it to ours, hashing all of it; compare with record and pointer file."""
    terms, container = archivematica.terms, _container(record)
    if container == "prefix":
        if terms.aip_bucket is None:
            return _copied(archive, record, "tar", None, archivematica, ports)
        return _prefix(record, terms.aip_bucket, ports)
    if terms.aip_bucket is None or not terms.aips_stay:
        return _copied(archive, record, container, pointer, archivematica, ports)
    try:
        info = ports.store.head(terms.aip_bucket, record.key)
    except NotStored as error:
        raise Flawed(
            f"The Storage Service says that the AIP is at {terms.aip_bucket}/{record.key}, but it is not.",
            code="aip-missing",
        ) from error
    checksums = _hashed(ports.store.stream(info.ref), info.size, ports)
    _compare(record, pointer, info.size, checksums)
    return _as_held(record, info, container, checksums)


def _copied(
    archive: ArchiveView,
    record: Stored,
    container: str,
    pointer: Pointer | None,
    source: Source,
    ports: Ports,
) -> Held:
    """Copy the package through the Storage Service, or from its bucket, into our own."""
    bucket, name = ports.settings.bucket_aips, record.name if _container(record) == container else f"{record.name}.tar"
    key = f"{archive.id}/{name}"
    with (
        _bytes_of(record, source, ports) as chunks,
        ports.store.writer(bucket, key, algorithms=("sha256", "sha512", "adler32")) as sink,
    ):
        for chunk in chunks:
            sink.write(chunk)
            ports.progress("take over", sink.position, record.size)
        if pointer is not None and pointer.size is not None and sink.position != pointer.size:
            raise Flawed(
                f"The Storage Service gave {sink.position} bytes of a package of {pointer.size}.", code="aip-size"
            )
        written = sink.finish()
    _compare(record, pointer, written.info.size, dict(written.checksums), exact=container != "tar")
    again = _hashed(ports.store.stream(written.info.ref), written.info.size, ports)
    if again["sha256"] != written.checksums["sha256"]:
        raise Flawed("The copy of the AIP in our store reads back as other bytes than were written.")
    return _as_held(record, written.info, container, dict(written.checksums))


class _bytes_of:
    """The bytes of a package as a context: from its bucket where that is known, else from the Storage Service."""

    def __init__(self, record: Stored, source: Source, ports: Ports) -> None:
        bucket = source.terms.aip_bucket if isinstance(source, Archivematica) else None
        self._local = None
        if bucket is not None and _container(record) != "prefix":
            self._local = ports.store.stream(ports.store.head(bucket, record.key).ref)
        else:
            self._remote = source.download(record.id)

    def __enter__(self) -> Iterator[bytes | memoryview]:
        if self._local is not None:
            return iter(self._local)
        return iter(self._remote.__enter__())

    def __exit__(self, *error: object) -> None:
        if self._local is None:
            self._remote.__exit__(*error)  # type: ignore[arg-type]


def _prefix(record: Stored, bucket: str, ports: Ports) -> Held:
    """An uncompressed AIP: one object per file. Its digest is that of its tag manifest, which covers all others."""
    prefix = record.key.rstrip("/") + "/"
    size = sum(info.size for info in ports.store.list(bucket, prefix))
    if size == 0:
        raise Flawed(
            f"The Storage Service says that the AIP is below {bucket}/{prefix}, but nothing is.", code="aip-missing"
        )
    package = Package(record.id, PackageKind.AIP, bucket, prefix, "prefix", size)
    return Held(package, f"s3://{bucket}/{prefix}")


def _as_held(record: Stored, info: ObjectInfo, container: str, checksums: dict[str, str]) -> Held:
    ref = info.ref
    package = Package(
        record.id,
        PackageKind.AIP,
        ref.bucket,
        ref.key,
        container,
        info.size,
        version_id=ref.version_id,
        etag=ref.etag,
        checksums=checksums,
    )
    return Held(package, f"s3://{ref.bucket}/{ref.key}")


def _hashed(chunks: Iterator[memoryview], size: int, ports: Ports) -> dict[str, str]:
    sha256, sha512, checksum, done = hashlib.sha256(), hashlib.sha512(), 1, 0
    for chunk in chunks:
        sha256.update(chunk)
        sha512.update(chunk)
        checksum = adler32(chunk, checksum)
        done += len(chunk)
        ports.progress("verify", done, size)
    return {"sha256": sha256.hexdigest(), "sha512": sha512.hexdigest(), "adler32": f"{checksum:08x}"}


def _compare(
    record: Stored, pointer: Pointer | None, size: int, checksums: dict[str, str], *, exact: bool = True
) -> None:
    if exact and record.size and record.size != size:
        raise Flawed(f"The AIP has {size} bytes; the Storage Service says {record.size}.", code="aip-size")
    if pointer is None:
        return
    for algorithm, declared in pointer.digests.items():
        if algorithm in checksums and checksums[algorithm] != declared:
            raise Flawed(
                f"The AIP's {algorithm} is {checksums[algorithm]}; its pointer file says {declared}.",
                code="aip-checksum",
            )


def _complete(archive: ArchiveView, history: History, ports: Ports) -> None:
    """Every payload file of the SIP has to be in the AIP, by digest."""
    lost = [path for path, digest in history.submitted(archive, ports) if digest not in history.digests]
    if lost:
        findings = tuple(Finding("file-lost", f"{path} is not in the AIP.", path=path) for path in lost[:_FINDINGS])
        raise Flawed(f"{len(lost)} files of the submission are not in the AIP: {lost[0]}", findings, code="file-lost")


def _failed_normalisations(submission: Submission, archivematica: Archivematica) -> tuple[Finding, ...]:
    if submission.sip is None:
        return ()
    failed = [
        (job.name, name)
        for job in archivematica.failed_jobs(submission.sip)
        if job.name.startswith("Normalize")
        for name, _ in job.tasks or (("", 0),)
    ]
    return tuple(
        Finding("not-normalised", f"{name or 'a file'}: {job} failed in Archivematica.", "warning", name or None)
        for job, name in failed[:_FINDINGS]
    )


def _dips(record: Stored, archivematica: Archivematica) -> list[Stored]:
    found = [archivematica.package(each) for each in record.related]
    return [each for each in found if each is not None and each.kind == "DIP" and each.status == "UPLOADED"]


def _dip(archive: ArchiveView, record: Stored, archivematica: Archivematica, ports: Ports) -> Held:
    """Copy a DIP, which is no bag and has no pointer file, as the tar that the Storage Service makes of it."""
    key = f"{archive.id}/{record.id}.tar"
    with (
        archivematica.download(record.id) as chunks,
        ports.store.writer(ports.settings.bucket_dips, key, algorithms=("sha256", "sha512")) as sink,
    ):
        for chunk in chunks:
            sink.write(chunk)
        written = sink.finish()
    ref: ObjectRef = written.info.ref
    package = Package(
        record.id,
        PackageKind.DIP,
        ref.bucket,
        ref.key,
        "tar",
        written.info.size,
        version_id=ref.version_id,
        etag=ref.etag,
        checksums=dict(written.checksums),
    )
    return Held(package, f"s3://{ref.bucket}/{ref.key}")


def _flawed(archive: ArchiveView, record: Stored, error: Rejected, ports: Ports) -> Outcome:
    findings = error.findings if isinstance(error, Flawed) else (Finding(error.code, error.message),)
    event = _event("validation", FAILURE, (error.message,), archive, record, ports)
    return Outcome(
        StepState.FAILED,
        error_code=error.code,
        message=f"Archivematica's AIP {record.id} is not taken over, and left where it is: {error.message}",
        findings=findings,
        events=(event,),
        output={"aip": str(record.id)},
    )


def _event(
    kind: str, outcome: str, notes: tuple[str, ...], archive: ArchiveView, record: Stored | Package, ports: Ports
) -> Event:
    return Event(
        id=ports.derived(f"event/takeover/{kind}"),
        type=kind,
        at=ports.clock.now(),
        details=("AIP made by Archivematica: bytes, bag, METS and payload compared",),
        outcomes=(EventOutcome(outcome, notes),),
        agents=(
            Identifier("software", SOFTWARE, EXECUTING),
            Identifier("organization", ports.settings.organisation, ("implementer",)),
        ),
        objects=(Identifier("UUID", str(record.id)), Identifier("UUID", str(archive.id))),
    )


def _outcome(
    archive: ArchiveView,
    held: Held,
    dips: list[Held],
    inside: Inside,
    history: History,
    findings: tuple[Finding, ...],
    ports: Ports,
) -> Outcome:
    package, now = held.package, ports.clock.now()
    notes = (
        f"{len(history.files)} files",
        *inside.notes,
        *(f"sha256 {v}" for k, v in package.checksums.items() if k == "sha256"),
    )
    reference = {
        "id": str(package.id),
        "kind": "AIP",
        "bucket": package.bucket,
        "key": package.key,
        "version_id": package.version_id,
        "size": package.size,
        "checksums": dict(package.checksums),
    }
    return Outcome(
        StepState.COMPLETED_WITH_WARNINGS if findings else StepState.COMPLETED,
        output={"aip": str(package.id), "files": len(history.files), "size": package.size, "events": history.events},
        packages=(package, *(each.package for each in dips)),
        copies=(
            Copy(package.id, "object-store", held.uri, package.size, package.checksums, now),
            *(Copy(d.package.id, "object-store", d.uri, d.package.size, d.package.checksums, now) for d in dips),
        ),
        files=((package.id, history.files),),
        events=(
            _event("validation", SUCCESS, notes, archive, package, ports),
            _event("accession", SUCCESS, (held.uri,), archive, package, ports),
        ),
        facts=(
            Fact(
                "org.perdura.aip.created.v1",
                {"archive": str(archive.id), "package": reference, "files": len(history.files)},
            ),
        ),
        findings=findings,
    )
