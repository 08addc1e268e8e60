"""Where an AIP that somebody else made will stay, and the digests of all of its bytes (archivematica.md 6.4).

It stays where the Storage Service put it, or is copied: within the object store part by part, from elsewhere as one
stream. Copying and hashing go on where the last invocation stopped; only such a stream cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from perdura.errors import NotStored
from perdura.fleet import Archivematica, ArchivematicaUnavailable, Stored
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.packages.long_digest import continued
from perdura.packages.pointer import Pointer
from perdura.ports import Ports
from perdura.steps.preserve_takeover_course import Continued, Course, Flawed, NotJudged, with_package
from perdura.steps.stored_package import pinned
from perdura.storage.store import ObjectInfo, Written
from perdura.storage.timed import TimeUp
from perdura.storage.uploads import Upload, copy_on

ALGORITHMS = ("sha256", "sha512", "adler32")
_PACKING = 4 * 2**30
"""Bytes by which a tar made on the fly may be longer than the files in it: headers and padding of a million."""
_END = 1024
"""Bytes of the two empty blocks that end a tar."""
_SUFFIXES = {".7z": "7z", ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar.bz2": "tar.bz2", ".tar": "tar"}


class Source(Protocol):
    """Where the bytes of a package that somebody else stored come from."""

    def download(self, package: UUID, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """The package as a stream; one that has to be waited for raises TimeUp when `near` says that time is up."""
        ...


def placed(archive: ArchiveView, record: Stored, source: Source | None, course: Course, ports: Ports) -> Course:
    """The course with the place where the AIP will stay: found there, or copied there from `source`.

    Raises NotJudged when it is not where it is said to be, Continued when time is up, TimeUp when it comes as one
    stream that is too long.
    """
    if course.package is not None:
        return course
    assert source is not None
    terms = source.terms if isinstance(source, Archivematica) else None
    if terms is None or terms.aip_bucket is None:
        return _downloaded(archive, record, source, course, ports)
    if container_of(record) == "prefix":
        return with_package(course, _prefix(record, terms.aip_bucket, ports))
    try:
        info = ports.store.head(terms.aip_bucket, record.key)
    except NotStored as error:
        message = f"The Storage Service says that the AIP is at {terms.aip_bucket}/{record.key}, but it is not."
        raise NotJudged(message, code="aip-missing") from error
    if not terms.aips_stay:
        info = copied(archive, record, info, course, ports)
    return with_package(course, package_of(record, info, container_of(record)))


def hashed(course: Course, ports: Ports) -> Course:
    """The course with the digests of all bytes of its package; an uncompressed one has none as a whole.

    Raises NotJudged when our copy reads back as other bytes than were written, Continued when time is up.
    """
    package = course.package
    assert package is not None
    if package.checksums or package.container == "prefix":
        return course
    ref = pinned(package)
    state = continued(
        lambda offset: ports.store.stream(ref, offset, package.size - offset),
        package.size,
        ALGORITHMS,
        course.digests,
        ports.deadline.near,
        lambda done: ports.progress("verify", done, package.size),
    )
    if state.digests is None:
        raise Continued(replace(course, digests=state))
    checksums = {name: digest.hex() for name, digest in state.digests.items()}
    if course.written not in (None, checksums["sha256"]):
        message = "The copy of the AIP in our store reads back as other bytes than were written."
        raise NotJudged(message, code="stored-differs")
    return with_package(course, replace(package, checksums=checksums), course.written)


def compare(record: Stored, pointer: Pointer | None, package: Package, fetched: str | None = None) -> bool:
    """Compare size and digests with what the Storage Service says; gives whether there was a digest to compare.

    `fetched` is the SHA-256 of what came from it as a stream. Raises Flawed when they differ, NotJudged when what was
    fetched has another size, or another digest and no declared size.
    """
    if package.container != "prefix" and not _made_on_the_fly(record, package) and record.size not in (0, package.size):
        # A stream may have been cut short, or be a page of something between.
        kind = Flawed if fetched is None else NotJudged
        raise kind(f"The AIP has {package.size} bytes; the Storage Service says {record.size}.", code="aip-size")
    for algorithm, declared in pointer.digests.items() if pointer else ():
        if package.checksums.get(algorithm, declared) != declared:
            message = f"The AIP's {algorithm} is {package.checksums[algorithm]}; its pointer file says {declared}."
            kind = Flawed if is_whole(record, package, fetched) else NotJudged
            raise kind(message, code="aip-checksum")
    return pointer is not None and not package.checksums.keys().isdisjoint(pointer.digests)


def is_whole(record: Stored, package: Package, fetched: str | None) -> bool:
    """Whether these must be all bytes of the AIP: read where it is stored, or `fetched` and of the declared size."""
    return fetched is None or (not _made_on_the_fly(record, package) and package.size == record.size)


def _made_on_the_fly(record: Stored, package: Package) -> bool:
    """Whether the package is a tar of which nobody says how long it is."""
    return package.container == "tar" and container_of(record) == "prefix"


def downloaded(record: Stored, source: Source, bucket: str, key: str, ports: Ports) -> Written:
    """Store a package that comes as one stream.

    Raises TimeUp when there is no time for all of it, NotJudged when it is longer than its record explains,
    ArchivematicaUnavailable when a tar made on the fly is cut off: nothing is stored then.
    """
    with (
        source.download(record.id, ports.deadline.near) as chunks,
        ports.store.writer(bucket, key, algorithms=("sha256", "sha512")) as sink,
    ):
        for chunk in _to_its_end(chunks) if container_of(record) == "prefix" else chunks:
            if ports.deadline.near():
                raise TimeUp
            sink.write(chunk)
            if record.size and sink.position > record.size + _PACKING:
                raise NotJudged(
                    f"It is longer than the {record.size} bytes that the Storage Service says.", code="aip-size"
                )
            ports.progress("take over", sink.position, record.size)
        return sink.finish()


def _to_its_end(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """A tar ends with empty blocks: what does not was cut off, or is a page of something between."""
    tail = b""
    for chunk in chunks:
        tail = (tail + chunk[-_END:])[-_END:]
        yield chunk
    if tail != bytes(_END):
        raise ArchivematicaUnavailable("The tar that the Storage Service makes of the package came cut off.")


def _downloaded(archive: ArchiveView, record: Stored, source: Source, course: Course, ports: Ports) -> Course:
    container = container_of(record)
    name = record.name if container != "prefix" else f"{record.name}.tar"
    container = container if container != "prefix" else "tar"
    written = downloaded(record, source, ports.settings.bucket_aips, f"{archive.id}/{name}", ports)
    return with_package(course, package_of(record, written.info, container), written.checksums["sha256"])


def copied(archive: ArchiveView, record: Stored, info: ObjectInfo, course: Course, ports: Ports) -> ObjectInfo:
    """The AIP in our own bucket, copied within the store; raises Continued when time is up."""
    bucket, key = ports.settings.bucket_aips, f"{archive.id}/{record.name}"
    uploads = ports.store.uploads
    upload = Upload(bucket, key, course.upload) if course.upload else uploads.begin(bucket, key)
    try:
        copied = copy_on(uploads, info.ref, upload, info.size, ports.deadline.near)
    except NotStored:
        if course.upload is None:
            raise
        # The store gave up an upload that lay too long, or it was completed by a worker that died then.
        upload = uploads.begin(bucket, key)
        copied = copy_on(uploads, info.ref, upload, info.size, ports.deadline.near)
    if copied is None:
        raise Continued(replace(course, upload=upload.id))
    return copied


def container_of(record: Stored) -> str:
    """What its name says that the package is packed in: `prefix` where it says nothing."""
    name = record.name.lower()
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), "prefix")


def _prefix(record: Stored, bucket: str, ports: Ports) -> Package:
    """An uncompressed AIP: one object per file; its bag has a digest of each."""
    prefix = record.key.rstrip("/") + "/"
    size = sum(info.size for info in ports.store.list(bucket, prefix))
    if size == 0:
        message = f"The Storage Service says that the AIP is below {bucket}/{prefix}, but nothing is."
        raise NotJudged(message, code="aip-missing")
    return Package(record.id, PackageKind.AIP, bucket, prefix, "prefix", size)


def package_of(record: Stored, info: ObjectInfo, container: str) -> Package:
    """The AIP that is one object."""
    ref = info.ref
    return Package(
        record.id,
        PackageKind.AIP,
        ref.bucket,
        ref.key,
        container,
        info.size,
        version_id=ref.version_id,
        etag=ref.etag,
    )
