"""What an Archivematica AIP tells of itself: its files into the registry, its events into the log (7.3, 7.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from lxml import etree

from perdura.ids import derived_id
from perdura.outcome import ArchiveView, File, Package, PackageKind
from perdura.packages.mets_read import BadMets, MetsEvent, MetsFile, MetsObject, read_mets
from perdura.packages.pointer import Pointer
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.packages.verify import verify
from perdura.ports import Ports
from perdura.premis.model import Event, Identifier
from perdura.premis.xml import event_from, is_uuid, parse, sent_identifier
from perdura.steps.preserve_declared import Declarations
from perdura.steps.preserve_submission import open_submission
from perdura.steps.preserve_takeover_inside import Inside
from perdura.storage.store import ObjectRef

_BATCH = 1000
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class History:
    """The files of an AIP, the digests of its originals, and how many events were taken into the log."""

    files: tuple[File, ...]
    digests: frozenset[str]
    events: int

    def submitted(self, archive: ArchiveView, ports: Ports) -> Iterator[tuple[str, str]]:
        """(path, SHA-256) of every payload file of the SIP: by its manifest, else by reading it."""
        sip = archive.package(PackageKind.SIP)
        if sip is None:
            return
        declarations = Declarations(open_submission(ports.store, sip))
        if "sha256" in declarations.algorithms:
            yield from declarations.payload("sha256")
            return
        source = (
            StoredPrefix(ports.store, sip.bucket, sip.key)
            if sip.container == "prefix"
            else StoredObject(ports.store, ObjectRef(sip.bucket, sip.key, sip.version_id, sip.etag), sip.size)
        )
        for file in verify(source, algorithms=("sha256",)).files:
            if file.is_payload:
                yield file.path, file.checksums["sha256"]


def read_history(
    archive: ArchiveView, package: Package, inside: Inside, pointer: Pointer | None, ports: Ports
) -> History:
    """Read the METS once, comparing it with the bag; its events go to the log in batches as they are read.

    Raises BadMets when METS and bag contradict each other.
    """
    objects: dict[str, MetsObject] = {}
    files: list[File] = []
    batch: list[Event] = []
    count = 0
    for event in _pointer_events(pointer):
        batch.append(_placed(event, None, package, archive, ports))
    for part in read_mets(inside.mets()):
        if isinstance(part, MetsObject) and part.kind == "file":
            objects[part.section] = part
        elif isinstance(part, MetsEvent):
            batch.append(_placed(part.element, part.about, package, archive, ports))
            if len(batch) >= _BATCH:
                ports.record(batch)
                count += len(batch)
                batch = []
        elif isinstance(part, MetsFile):
            files.append(_file(part, objects, inside.manifest))
    if batch:
        ports.record(batch)
    _contradictions(files, inside.manifest)
    digests = frozenset(each.digests["sha256"] for each in objects.values() if "sha256" in each.digests)
    return History(tuple(files), digests, count + len(batch))


def _pointer_events(pointer: Pointer | None) -> Iterator[etree._Element]:
    for text in pointer.events if pointer else ():
        yield parse(text)


def _placed(
    element: etree._Element, about: MetsObject | None, package: Package, archive: ArchiveView, ports: Ports
) -> Event:
    """An event as the log keeps it: with the object it is about, which Archivematica shows by its place alone."""
    event = event_from(element, now=ports.clock.now())
    sent = sent_identifier(element)
    # A foreign identifier that is no UUID gets one derived from it, so that the same METS gives the same events.
    identity = (
        event.id if is_uuid(sent) else derived_id("archivematica event", package.id, sent, event.type, event.date)
    )
    values = [value for kind, value in (about.identifiers if about else ()) if kind.upper() == "UUID"]
    linked = dict.fromkeys((*values, str(package.id), str(archive.id)))
    known = {each.value for each in event.objects}
    return replace(
        event,
        id=identity,
        identifier=str(identity),
        objects=(*event.objects, *(Identifier("UUID", value) for value in linked if value not in known)),
    )


def _file(part: MetsFile, objects: Mapping[str, MetsObject], manifest: Mapping[str, str] | None) -> File:
    about = next((objects[section] for section in part.sections if section in objects), None)
    path = f"data/{part.href}"
    digests = dict(about.digests) if about else {}
    if manifest is not None:
        found = manifest.get(path)
        if found is None:
            raise BadMets(f"The METS lists {path}, which the bag does not have.", code="mets-contradicts-bag")
        if digests.get("sha256", found) != found:
            raise BadMets(f"{path} has another SHA-256 than the METS says.", code="mets-contradicts-bag")
        digests["sha256"] = found
    return File(
        path,
        (about.size if about else None) or 0,
        digests,
        format_name=about.format_name if about else None,
        format_key=about.format_key if about else None,
    )


def _contradictions(files: list[File], manifest: Mapping[str, str] | None) -> None:
    if len({file.path for file in files}) != len(files):
        raise BadMets("The METS lists a file twice.", code="mets-contradicts-bag")
    if manifest is None:
        return
    listed = {file.path for file in files}
    unlisted = [path for path in manifest if path.startswith("data/objects/") and path not in listed]
    if unlisted:
        shown = ", ".join(unlisted[:_SHOWN])
        raise BadMets(f"{len(unlisted)} files of the bag are not in its METS: {shown}", code="mets-contradicts-bag")
