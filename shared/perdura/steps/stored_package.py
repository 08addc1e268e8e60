"""A package as a step reads it: the one state of it that was recorded, whatever it is stored as."""

from __future__ import annotations

from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.storage.store import ObjectRef, Store


def sip_of(archive: ArchiveView) -> Package:
    """The accepted SIP; raises Rejected without one."""
    sip = archive.package(PackageKind.SIP)
    if sip is None:
        raise Rejected("this Archive has no accepted submission package", code="no-sip")
    return sip


def pinned(package: Package) -> ObjectRef:
    """The package as one state of one object: reading another one raises ObjectChanged."""
    return ObjectRef(package.bucket, package.key, package.version_id, package.etag)


def source_of(package: Package, store: Store, name: str | None = None) -> StoredObject | StoredPrefix:
    """Where the bytes of a package are read from: one object, which may have had a `name`, or all below a prefix."""
    if package.key.endswith("/"):
        return StoredPrefix(store, package.bucket, package.key)
    return StoredObject(store, pinned(package), package.size, name)
