"""What the objects of one Archive tell of it: its AIPs by their indexes and METS, its SIP by its manifests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from perdura.errors import PerduraError
from perdura.outcome import File, Package, PackageKind
from perdura.packages import aip_index
from perdura.packages.aip_read import open_aip
from perdura.packages.file_table import FileTable
from perdura.packages.limits import Limits
from perdura.packages.mets_read import MetsDescription, MetsEvent, MetsHead, MetsRights, Part, read_mets
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.packages.verify import Examination, examine
from perdura.premis.importing import Foreign, from_element
from perdura.steps.preserve_rights_read import day_of
from perdura.storage.store import ObjectInfo, ObjectRef, Store

METS_IN_AIP = "data/metadata/METS.xml"
RESTRICTED = "access restricted by the source"
EMBARGO = "embargo"
ORIGIN = "aip"
_UNTOLD = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class HeldAip:
    """An AIP, and what its METS says of the Archive."""

    package: Package
    files: list[File]
    created: datetime | None = None
    title: str = ""
    resource: tuple[str, str] | None = None
    restricted: bool = False
    embargo: date | None = None
    """The last day that it names as the end of one."""
    events: list[Foreign | str] = field(default_factory=list)


@dataclass(slots=True)
class HeldSip:
    """A SIP; `finding` says why its inside cannot be told, if so."""

    package: Package
    modified: datetime | None
    files: list[File] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    finding: str | None = None


def by_archive(listing: Iterable[ObjectInfo]) -> Iterator[tuple[UUID, list[ObjectInfo]]]:
    """Objects by the Archive whose id their keys begin with; others are left out."""
    for name, group in groupby(listing, key=lambda info: info.ref.key.partition("/")[0]):
        try:
            yield UUID(name), list(group)
        except ValueError:
            continue


def held_aips(store: Store, archive: UUID, objects: list[ObjectInfo]) -> tuple[list[HeldAip], list[str]]:
    """The AIPs among the objects of an Archive in the bucket of AIPs, oldest first; and what is no AIP we know."""
    by_key = {info.ref.key: info for info in objects}
    aips, others = [], []
    for key, info in by_key.items():
        if not key.endswith(".tar"):
            if not (key.endswith(".index.jsonl") and key.removesuffix(".index.jsonl") + ".tar" in by_key):
                others.append(key)
            continue
        index = by_key.get(key.removesuffix(".tar") + ".index.jsonl")
        try:
            aips.append(_aip(store, archive, info, index))
        except (PerduraError, ValueError, KeyError, TypeError) as error:
            others.append(f"{key} ({error})")
    return oldest_first(aips), others


def oldest_first(aips: Iterable[HeldAip]) -> list[HeldAip]:
    """By the instant their METS says they were made at; those that do not say come before all others."""
    return sorted(aips, key=lambda aip: aip.created or _UNTOLD)


def _aip(store: Store, archive: UUID, info: ObjectInfo, index: ObjectInfo | None) -> HeldAip:
    pinned = store.head(info.ref.bucket, info.ref.key)
    if index is None:
        return _opened(store, archive, pinned)
    header, entries = aip_index.decode(aip_index.lines(store.stream(index.ref)))
    if header.archive != str(archive) or header.size != pinned.size:
        raise ValueError("its index is of another object")
    found: list[File] = []
    mets: tuple[int, int] | None = None
    for entry in entries:
        member = entry.member
        if member.path == METS_IN_AIP:
            mets = member.offset, member.size
        if member.path.startswith("data/"):
            digests = {name: member.digests[name] for name in ("sha256", "sha512", "adler32")}
            found.append(File(member.path, member.size, digests, member.offset, entry.format_name, entry.format_key))
    aip = HeldAip(_package(pinned, UUID(header.aip), dict(header.checksums), index.ref.key), found)
    if mets is None:
        parts = (part for _, part in open_aip(StoredObject(store, pinned.ref, pinned.size)).parts())
        return _described(aip, archive, parts)
    return _described(aip, archive, read_mets(bytes(chunk) for chunk in store.stream(pinned.ref, *mets)))


def _opened(store: Store, archive: UUID, info: ObjectInfo) -> HeldAip:
    """An AIP without an index is read from its own headers."""
    opened = open_aip(StoredObject(store, info.ref, info.size))
    identity = UUID(info.ref.key.rpartition("/")[2].removesuffix(".tar"))
    return _described(HeldAip(_package(info, identity, {}, None), []), archive, (part for _, part in opened.parts()))


def _package(info: ObjectInfo, identity: UUID, checksums: dict[str, str], index_key: str | None) -> Package:
    ref = info.ref
    return Package(
        id=identity,
        kind=PackageKind.AIP,
        bucket=ref.bucket,
        key=ref.key,
        container="tar",
        size=info.size,
        version_id=ref.version_id,
        etag=ref.etag,
        checksums=checksums,
        index_key=index_key,
    )


def _described(aip: HeldAip, archive: UUID, parts: Iterable[Part]) -> HeldAip:
    for part in parts:
        if isinstance(part, MetsHead):
            aip.created = _instant(part.created) if part.created else None
            record = next(((kind, value) for kind, value in part.records if kind.endswith(" record")), None)
            aip.resource = (record[0].removesuffix(" record"), record[1]) if record else None
        elif isinstance(part, MetsDescription):
            aip.title = next((value for name, value in part.elements if name == "title"), "")
        elif isinstance(part, MetsRights):
            _protected(aip, part)
        elif isinstance(part, MetsEvent):
            try:
                aip.events.append(from_element(part.element, origin=f"{ORIGIN} {archive}"))
            except PerduraError as error:
                aip.events.append(f"an event of AIP {aip.package.id}: {error.message}")
    return aip


def _protected(aip: HeldAip, rights: MetsRights) -> None:
    """What a rights statement shuts; an embargo without a day that can be read restricts, as at ingest."""
    until = day_of(rights.until) if rights.basis == EMBARGO else None
    if until is not None:
        aip.embargo = max(until, aip.embargo or until)
    elif rights.basis in {RESTRICTED, EMBARGO}:
        aip.restricted = True


def _instant(told: str) -> datetime:
    """A time of a METS document; one without an offset is taken for UTC."""
    found = datetime.fromisoformat(told)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def held_sip(store: Store, objects: list[ObjectInfo], identity: UUID, limits: Limits) -> HeldSip:
    """The SIP among the objects of an Archive in the bucket of SIPs: one object, or the newest unpacked one."""
    single = next((info for info in objects if info.ref.key.endswith("/sip")), None)
    if single is not None:
        pinned = store.head(single.ref.bucket, single.ref.key)
        ref = pinned.ref
        package = _sip(ref, ref.key, pinned.size, identity, ref.version_id, ref.etag)
        return _examined(HeldSip(package, pinned.modified), StoredObject(store, ref, pinned.size), limits)
    prefix = newest_folder(info.ref.key for info in objects)
    size = sum(info.size for info in objects if info.ref.key.startswith(prefix))
    package = _sip(objects[0].ref, prefix, size, identity, None, None)
    modified = max((info.modified for info in objects if info.modified), default=None)
    return _examined(HeldSip(package, modified), StoredPrefix(store, package.bucket, prefix), limits)


def newest_folder(keys: Iterable[str]) -> str:
    """The folder of an Archive that has its newest unpacked SIP: a bag that has its files before one that has not.

    Beside SIPs lie what was noted of transfers and verifications, and what else was harvested.
    """
    given = [tuple(key.split("/", 2)) for key in keys]
    bags = {parts[:2] for parts in given if parts[-1].rpartition("/")[2] == "bagit.txt"} or {each[:2] for each in given}
    archive, name = max(bags, key=lambda each: (not each[1].startswith("light"), _generation(each[1])))
    return f"{archive}/{name}/"


def _generation(folder: str) -> tuple[str, int]:
    kind, _, number = folder.partition("-")
    return kind, int(number) if number.isdecimal() else 1


def _sip(ref: ObjectRef, key: str, size: int, identity: UUID, version_id: str | None, etag: str | None) -> Package:
    return Package(
        id=identity,
        kind=PackageKind.SIP,
        bucket=ref.bucket,
        key=key,
        container="prefix" if key.endswith("/") else "unknown",
        size=size,
        version_id=version_id,
        etag=etag,
    )


def _examined(sip: HeldSip, source: StoredObject | StoredPrefix, limits: Limits) -> HeldSip:
    """Its files and description as its manifests declare them; no payload byte is read."""
    found = examine(source, limits=limits)
    if not isinstance(found, Examination):
        sip.finding = found.findings[0].message if found.findings else "it is no bag"
        return sip
    bag = found.bag
    table = FileTable(found.container, bag.layout.index, {}, bag.declared())
    sip.files = [
        File(file.path, file.size, dict(file.declared), file.offset) for file in table if file.path.startswith("data/")
    ]
    facts = bag.facts()
    sip.metadata = {name: facts[name] for name in ("bag_info", "bagit_version", "profile", "sip") if facts.get(name)}
    sip.package = replace(sip.package, container=found.container.kind)
    return sip
