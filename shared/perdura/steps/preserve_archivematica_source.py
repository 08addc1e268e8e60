"""Puts a SIP where an Archivematica can read it, under a name of ours, and checks what would wedge it (6.1, 3.5)."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path

from perdura.errors import Broken, Rejected, StoreUnavailable
from perdura.fleet import Archivematica, ArchivematicaRefused, Start, Submission, Terms
from perdura.outcome import Package
from perdura.ports import Ports
from perdura.steps.preserve_submission import open_submission
from perdura.steps.stored_package import pinned
from perdura.storage.store import Store

LARGEST_NAME = 50
_PART = 1 << 20
_SUFFIXES = {"zip": ".zip", "tar.gz": ".tar.gz", "tar": ".tar.gz"}


def start_of(submission: Submission, sip: Package, terms: Terms) -> Start:
    """The request that will start the transfer; raises Rejected for a container that would wedge the pipeline."""
    if sip.container == "prefix":
        kind, path = "unzipped bag", f"{submission.name}/"
    elif sip.container in _SUFFIXES:
        kind, path = "zipped bag", f"{submission.name}/{submission.name}{_SUFFIXES[sip.container]}"
    else:
        raise Rejected(f"Archivematica cannot take a package of kind {sip.container!r}.", code="container-refused")
    return Start(submission.name, kind, terms.source_location, path, submission.configuration or terms.configuration)


def place(submission: Submission, sip: Package, terms: Terms, ports: Ports) -> None:
    """Copy the SIP to the transfer source, below a folder of its own; doing it again gives the same.

    Raises StoreUnavailable, NotStored, Broken when the source cannot be written to.
    """
    path = start_of(submission, sip, terms).path
    if terms.source_directory is not None:
        _place_in_directory(ports.store, sip, Path(terms.source_directory), path)
        return
    bucket = terms.source_bucket
    if bucket is None:
        raise Broken(f"{terms.name} has no transfer source", code="archivematica-settings")
    if sip.container == "prefix":
        for info in ports.store.list(sip.bucket, sip.key):
            key = terms.source_prefix + path + info.ref.key.removeprefix(sip.key)
            ports.store.copy(info.ref, bucket, key, info.size)
        return
    ref = pinned(sip)
    if sip.container != "tar":
        ports.store.copy(ref, bucket, terms.source_prefix + path, sip.size)
        return
    with ports.store.writer(bucket, terms.source_prefix + path, content_type="application/gzip") as sink:
        for piece in _gzipped(ports.store.stream(ref)):
            sink.write(piece)
        sink.finish()


def check(archivematica: Archivematica, start: Start, sip: Package, ports: Ports) -> None:
    """Every condition under which a request would be lost, wedge the pipeline, or wait for a person for ever.

    Raises Rejected for the package's faults, Broken for the instance's.
    """
    submission = open_submission(ports.store, sip)
    if not any(path.startswith("data/") for path in submission.layout.index):
        raise Rejected("The package has no payload: Archivematica would stand still over it.", code="empty-payload")
    if len(start.name) > LARGEST_NAME or not start.name.replace("-", "").isalnum():
        raise Broken(f"{start.name} is no name that Archivematica keeps.", code="archivematica-name")
    names = archivematica.configurations()
    if start.configuration not in names:
        raise Broken(
            f"{archivematica.terms.name} has no processing configuration {start.configuration!r}: it would stop at "
            f"the first question. There are: {', '.join(names)[:200]}.",
            code="no-such-configuration",
        )
    folder, _, entry = start.path.rpartition("/")
    try:
        seen = archivematica.source_holds(folder, entry or "bagit.txt")
    except ArchivematicaRefused as error:
        raise Broken(error.message, code="transfer-source") from error
    if not seen:
        raise Broken(
            f"{archivematica.terms.name} does not see {start.path} in its transfer source: the transfer would be "
            "lost without a word. Is the location that of the bucket or directory?",
            code="transfer-source",
        )


def clear(submission: Submission, terms: Terms, ports: Ports) -> None:
    """Remove the copy in the transfer source when its AIP is verified: the SIP itself stays where it is."""
    if terms.source_directory is not None:
        folder = Path(terms.source_directory) / submission.name
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        if folder.is_dir():
            folder.rmdir()
    elif terms.source_bucket is not None:
        for info in ports.store.list(terms.source_bucket, f"{terms.source_prefix}{submission.name}/"):
            ports.store.delete(info.ref)


def _place_in_directory(store: Store, sip: Package, root: Path, path: str) -> None:
    try:
        if sip.container == "prefix":
            for info in store.list(sip.bucket, sip.key):
                name = info.ref.key.removeprefix(sip.key)
                if ".." in name.split("/"):
                    raise Rejected(f"{name} leaves its package", code="path-escapes")
                _write(root / path / name, (bytes(chunk) for chunk in store.stream(info.ref)))
            return
        ref = pinned(sip)
        chunks = store.stream(ref)
        _write(root / path, _gzipped(chunks) if sip.container == "tar" else (bytes(chunk) for chunk in chunks))
    except OSError as error:
        raise StoreUnavailable(f"the transfer source cannot be written to: {error.strerror}") from error


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _gzipped(chunks: Iterator[memoryview]) -> Iterator[bytes]:
    """An uncompressed tar as a tar.gz: Archivematica unpacks nothing it does not know by its suffix."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as packed:
        for chunk in chunks:
            packed.write(chunk)
            if buffer.tell() >= _PART:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()
