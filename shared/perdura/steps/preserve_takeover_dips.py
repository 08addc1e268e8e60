"""DIPs of Archivematica, taken over beside their AIPs: no bags, without pointer files (archivematica.md 7.6).

A DIP is a courtesy of the AIP: one that is not what it must be is not accepted, and told of, while its AIP is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from perdura.errors import Rejected
from perdura.fleet import Archivematica, ArchivematicaRefused, ArchivematicaUnavailable, Stored
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.packages.aip_check import read_back
from perdura.packages.container import Container
from perdura.packages.limits import AIP_LIMITS
from perdura.packages.mets_read import BadMets, MetsFile, read_mets
from perdura.packages.opening import open_container
from perdura.packages.sources import StoredObject
from perdura.ports import Ports
from perdura.steps.preserve_takeover_bytes import downloaded
from perdura.steps.preserve_takeover_course import Flawed, NotJudged
from perdura.steps.stored_package import pinned
from perdura.storage.store import Store
from perdura.storage.timed import TimeUp, timed

_STORED = frozenset({"UPLOADED", "VERIFIED"})


@dataclass(frozen=True, slots=True)
class Dips:
    """The DIPs that were taken over, and those that were not: their UUIDs, with why."""

    packages: tuple[Package, ...] = ()
    refused: tuple[tuple[UUID, str], ...] = ()


def dips_taken(
    archive: ArchiveView, aip: Stored, archivematica: Archivematica, ports: Ports, *, patient: bool, again: bool
) -> Dips:
    """Take over what the Storage Service says it made of the AIP for its users.

    Raises ArchivematicaUnavailable while `patient`, and TimeUp when trying `again` may have more time; else what could
    not be had is refused.
    """
    packages: list[Package] = []
    refused: list[tuple[UUID, str]] = []
    for each in aip.related:
        try:
            record = archivematica.package(each)
            if record is not None and (record.kind != "DIP" or record.status == "DELETED"):
                continue
            packages.append(_taken(archive, aip, _stored(record), archivematica, ports))
        except (Rejected, NotJudged, ArchivematicaRefused) as error:
            refused.append((each, error.message))
        except TimeUp as error:
            if again:
                raise
            refused.append((each, error.message))
        except ArchivematicaUnavailable as error:
            if patient:
                raise
            refused.append((each, error.message))
    return Dips(tuple(packages), tuple(refused))


def _stored(record: Stored | None) -> Stored:
    if record is None:
        raise Flawed("The Storage Service has no record of it.")
    if record.status not in _STORED:
        raise Flawed(f"The Storage Service calls it {record.status}.")
    return record


def _taken(archive: ArchiveView, aip: Stored, record: Stored, archivematica: Archivematica, ports: Ports) -> Package:
    """Copy a DIP to our bucket, as the tar that the Storage Service makes of it, read it back, and look into it.

    Raises Rejected when it is not what it must be, Retryable when the store does not keep it.
    """
    key = f"{archive.id}/{record.id}.tar"
    written = downloaded(record, archivematica, ports.settings.bucket_dips, key, ports)
    store, ref = timed(ports.store, ports.deadline.near), written.info.ref
    read_back(store, written)
    package = Package(record.id, PackageKind.DIP, ref.bucket, key, "tar", written.info.size, ref.version_id, ref.etag)
    _examine(package, aip, record, store)
    return replace(package, checksums=written.checksums)


def _examine(package: Package, aip: Stored, record: Stored, store: Store) -> None:
    """A sound tar of the declared size, with objects and the METS of its AIP; raises Rejected."""
    container = open_container(StoredObject(store, pinned(package), package.size), AIP_LIMITS)
    size = sum(member.size for member in container.members)
    if record.size and size != record.size:
        raise Flawed(f"Its files have {size} bytes; the Storage Service says {record.size}.", code="dip-size")
    paths = [member.path.partition("/")[2] for member in container.members if not member.is_directory]
    if len(set(paths)) != len(paths):
        raise Flawed("Two of its files have the same path.", code="dip-flawed")
    if not any(path.startswith("objects/") for path in paths):
        raise Flawed("It holds no objects.", code="dip-empty")
    if sum(isinstance(part, MetsFile) for part in read_mets(_mets(container, aip))) == 0:
        raise BadMets("Its METS lists no file.")


def _mets(container: Container, aip: Stored) -> Iterator[memoryview]:
    wanted = f"METS.{aip.id}.xml"
    for index, member in enumerate(container.members):
        if member.path.partition("/")[2] == wanted:
            return container.read(index)
    raise Flawed(f"It has no {wanted}.", code="dip-without-mets")
