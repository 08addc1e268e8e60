"""Puts a SIP where an Archivematica can read it, under a name of ours, and checks what would wedge it (6.1, 3.5)."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from perdura.errors import Broken, Rejected, StoreUnavailable
from perdura.fleet import Archivematica, ArchivematicaRefused, Start, Submission, Terms
from perdura.outcome import ArchiveView, Package
from perdura.packages.limits import limits_of
from perdura.ports import Ports
from perdura.steps.preserve_archivematica_copy import Placing, copy_members, copy_object
from perdura.steps.preserve_renewed import Renewal, renewal_of, renewed
from perdura.steps.preserve_submission import open_submission
from perdura.steps.preserve_takeover_scanned import refuse_without_scan
from perdura.steps.stored_package import pinned, sip_of
from perdura.storage.timed import timed

LARGEST_NAME = 50
_PART = 1 << 20
_NO_AIP = {
    "7065d256-2f47-4b7d-baec-2c4699626121": "sends packages to the backlog, where no AIP is made of them, and where "
    "the pipeline stands still if it has no search",
    "1b04ec43-055c-43b7-9543-bd03c6a778ba": "rejects every transfer",
    "433f4e6b-1ef4-49f8-b1e4-49693791a806": "rejects every AIP",
}
"""Choices by which no AIP comes about, or the pipeline is wedged beyond a restart (archivematica.md 1.6, 3.5)."""
_DROPS_PACKAGES = {
    "dec97e3c-5598-4b99-b26e-f87a435a6b7f": "01d80b27-4ad1-4bd1-8f8d-f819f18bf685",
    "f19926dd-8fb5-4c79-8ade-c83f61f55b40": "85b1e45d-8f98-4cae-8336-72f40e12cbef",
}
"""*Extract packages*: Yes, and *Delete package after extraction*: Yes (1.6)."""
_SUFFIXES = {"zip": ".zip", "tar.gz": ".tar.gz", "tar": ".tar.gz"}


@dataclass(frozen=True, slots=True)
class Consignment:
    """What is sent: a SIP as it lies, or for a new version of an AIP the bag that is made of it (`renewal`)."""

    sip: Package
    renewal: Renewal | None
    mtime: int

    @property
    def container(self) -> str:
        """What it is packed in."""
        return self.sip.container if self.renewal is None else "tar"

    @property
    def size(self) -> int:
        """About so many bytes."""
        return self.sip.size + (sum(each.size for each in self.renewal.additions) if self.renewal else 0)


def consignment_of(archive: ArchiveView) -> Consignment:
    """What the step sends; raises Rejected without an accepted SIP."""
    return Consignment(
        sip_of(archive), renewal_of(archive), int(archive.created_at.timestamp()) if archive.created_at else 0
    )


def start_of(submission: Submission, consignment: Consignment, terms: Terms) -> Start:
    """The request that will start the transfer; raises Rejected for a container that would wedge the pipeline."""
    container = consignment.container
    if container == "prefix":
        kind, path = "unzipped bag", f"{submission.name}/"
    elif container in _SUFFIXES:
        kind, path = "zipped bag", f"{submission.name}/{submission.name}{_SUFFIXES[container]}"
    else:
        raise Rejected(f"Archivematica cannot take a package of kind {container!r}.", code="container-refused")
    return Start(submission.name, kind, terms.source_location, path, submission.configuration or terms.configuration)


def base_of(consignment: Consignment, ports: Ports) -> str:
    """The top folder of the SIP that is left out, with `/`, or nothing; raises Rejected for a package to be refused."""
    layout = open_submission(timed(ports.store, ports.deadline.near), consignment.sip, limits_of(ports.settings)).layout
    if "bagit.txt" not in layout.index:
        raise Rejected("The package has no bagit.txt where Archivematica would look for it.", code="not-a-bag")
    if not any(path.startswith("data/") for path in layout.index):
        raise Rejected("The package has no payload: Archivematica would stand still over it.", code="empty-payload")
    return layout.base


def place(
    submission: Submission, consignment: Consignment, base: str, terms: Terms, placing: Placing, ports: Ports
) -> None:
    """Copy what is sent to the transfer source, below a folder of its own; doing it again gives the same.

    Of a SIP below a prefix its top folder, `base`, is left out. Raises Unfinished when the next invocation goes on with
    it, StoreUnavailable, NotStored, Broken when the source cannot be written to, TimeUp when there is no time for what
    cannot be divided, Rejected when a new version cannot be made of the SIP.
    """
    path = start_of(submission, consignment, terms).path
    if terms.source_directory is not None:
        _place_in_directory(consignment, base, Path(terms.source_directory), path, submission.name, ports)
        return
    bucket, sip = terms.source_bucket, consignment.sip
    if bucket is None:
        raise Broken(f"{terms.name} has no transfer source", code="archivematica-settings")
    if consignment.container == "prefix":
        copy_members((sip.bucket, sip.key + base), bucket, terms.source_prefix + path, placing, ports)
        return
    if consignment.container != "tar":
        copy_object(pinned(sip), bucket, terms.source_prefix + path, sip.size, placing, ports)
        return
    with ports.store.writer(bucket, terms.source_prefix + path, content_type="application/gzip") as sink:
        for piece in _packed(consignment, submission.name, ports):
            sink.write(piece)
        sink.finish()


def check(archivematica: Archivematica, start: Start, ports: Ports) -> None:
    """Every condition of an instance under which a request would be lost, wedge it, or wait for a person for ever.

    Raises Broken.
    """
    if len(start.name) > LARGEST_NAME or not start.name.replace("-", "").isalnum():
        raise Broken(f"{start.name} is no name that Archivematica keeps.", code="archivematica-name")
    names = archivematica.configurations()
    if start.configuration not in names:
        raise Broken(
            f"{archivematica.terms.name} has no processing configuration {start.configuration!r}: it would stop at "
            f"the first question. There are: {', '.join(names)[:200]}.",
            code="no-such-configuration",
        )
    choices = archivematica.choices(start.configuration)
    refuse_without_scan(archivematica, start.configuration, choices, ports)
    for question, choice in choices.items():
        if choice in _NO_AIP:
            raise Broken(
                f"{archivematica.terms.name}'s processing configuration {start.configuration!r} {_NO_AIP[choice]}. "
                f"Change its answer to {question}.",
                code="configuration-without-aip",
            )
    if _DROPS_PACKAGES.items() <= choices.items():
        raise Broken(
            f"{archivematica.terms.name}'s processing configuration {start.configuration!r} extracts zip files and the "
            "like and deletes them, so that what was submitted is not in the AIP. Change its answer to "
            "'Delete package after extraction' (f19926dd-8fb5-4c79-8ade-c83f61f55b40).",
            code="configuration-drops-files",
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


def _packed(consignment: Consignment, name: str, ports: Ports) -> Iterator[bytes]:
    """A tar.gz: Archivematica unpacks nothing it does not know by its suffix."""
    store, sip, renewal = timed(ports.store, ports.deadline.near), consignment.sip, consignment.renewal
    if renewal is None:
        return _gzipped(store.stream(pinned(sip)))
    bag = renewed(open_submission(store, sip, limits_of(ports.settings)), renewal, name, consignment.mtime, store)
    # Stored, not compressed: it is read once, and nothing but time could be saved.
    return _gzipped(bag, level=0)


def _place_in_directory(consignment: Consignment, base: str, root: Path, path: str, name: str, ports: Ports) -> None:
    store, sip = timed(ports.store, ports.deadline.near), consignment.sip
    try:
        if consignment.container == "prefix":
            for info in store.list(sip.bucket, sip.key + base):
                member = info.ref.key.removeprefix(sip.key + base)
                if ".." in member.split("/"):
                    raise Rejected(f"{member} leaves its package", code="path-escapes")
                _write(root / path / member, store.stream(info.ref))
        elif consignment.container == "tar":
            _write(root / path, _packed(consignment, name, ports))
        else:
            _write(root / path, store.stream(pinned(sip)))
    except OSError as error:
        raise StoreUnavailable(f"the transfer source cannot be written to: {error.strerror}") from error


def _write(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _gzipped(chunks: Iterable[bytes | memoryview], level: int = 1) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=level, mtime=0) as packed:
        for chunk in chunks:
            packed.write(chunk)
            if buffer.tell() >= _PART:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()
