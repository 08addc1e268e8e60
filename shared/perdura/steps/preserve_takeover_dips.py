"""DIPs of Archivematica, taken over beside their AIPs: no bags, without pointer files (archivematica.md 7)."""

from __future__ import annotations

from dataclasses import replace

from perdura.fleet import Archivematica, Stored
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.ports import Ports
from perdura.steps.preserve_takeover_bytes import downloaded


def dips_of(record: Stored, archivematica: Archivematica) -> list[Stored]:
    """The records of an AIP's DIPs that are stored."""
    found = [archivematica.package(each) for each in record.related]
    return [each for each in found if each is not None and each.kind == "DIP" and each.status == "UPLOADED"]


def taken(archive: ArchiveView, record: Stored, archivematica: Archivematica, ports: Ports) -> Package:
    """Copy a DIP to our bucket, as the tar that the Storage Service makes of it; raises TimeUp when it is too long."""
    key = f"{archive.id}/{record.id}.tar"
    info, checksums = downloaded(record, archivematica, ports.settings.bucket_dips, key, ports)
    ref = info.ref
    package = Package(record.id, PackageKind.DIP, ref.bucket, ref.key, "tar", info.size, ref.version_id, ref.etag)
    return replace(package, checksums=checksums)
