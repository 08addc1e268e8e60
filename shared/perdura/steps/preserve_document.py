"""The METS document of an AIP from what the step learned: objects, formats, description, events and agents."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import overload

from perdura.outcome import ArchiveView
from perdura.packages.mets import ORIGINAL, SUBMISSION_DOCUMENTATION, Description, Document, SoftwareNote
from perdura.packages.mets_objects import FileObject, Format
from perdura.ports import Identification
from perdura.premis.model import Agent
from perdura.premis.xml import agent_xml, event_xml
from perdura.steps.preserve_copied import Copied, CopiedFiles
from perdura.steps.preserve_events import Act

_UNKNOWN = Format("unknown")
_EMPTY = Format("empty file")
_DUBLIN_CORE = {
    "title": "title",
    "creators": "creator",
    "creator": "creator",
    "publisher": "publisher",
    "description": "description",
    "publication_date": "date",
    "date": "date",
    "identifier": "identifier",
    "identifiers": "identifier",
    "doi": "identifier",
    "rights": "rights",
    "license": "rights",
    "language": "language",
    "subjects": "subject",
}


class FileObjects(Sequence[FileObject]):
    """The files as PREMIS objects by path, each with the events that are about it; made when they are asked for."""

    def __init__(self, files: CopiedFiles, acts: Sequence[Act]) -> None:
        self._files = files
        self._order = array("L", files.in_order())
        self._events, self._codes = _events(len(files), acts)
        self._formats: dict[Identification | None, Format] = {}

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> FileObject: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[FileObject]: ...

    def __getitem__(self, place: int | slice) -> FileObject | Sequence[FileObject]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        file = self._files[self._order[place]]
        member = file.member
        found = _EMPTY if member.size == 0 else self._formats.get(file.format)
        if found is None:
            found = self._formats.setdefault(file.format, _format(file.format))
        return FileObject(
            id=file.id,
            path=member.path,
            group=ORIGINAL if file.is_object else SUBMISSION_DOCUMENTATION,
            size=member.size,
            digests=member.digests,
            original_name=file.original,
            format=found,
            events=self._events[self._codes[file.number]],
            derived_from=file.derived_from,
        )


def _events(files: int, acts: Sequence[Act]) -> tuple[list[tuple[str, ...]], array[int]]:
    """The different sets of events, which are few, and which of them is that of each file."""
    ids = [str(act.event.id) for act in acts]
    sets: dict[tuple[str, ...], int] = {}
    codes = array("L")
    for number in range(files):
        about = tuple(event for event, act in zip(ids, acts, strict=True) if act.covers(number))
        codes.append(sets.setdefault(about, len(sets)))
    return list(sets), codes


def document(
    archive: ArchiveView,
    aip: str,
    representation: str,
    created: datetime,
    copied: Copied,
    acts: Sequence[Act],
    earlier: Iterable[str],
    agents: Sequence[Agent],
    rights: Sequence[str],
    software: SoftwareNote,
    predecessor: str | None = None,
) -> Document:
    """Put the document together; `earlier` are events as PREMIS 3 elements, `agents` those of all."""
    record_ids = []
    if archive.source and archive.recid:
        record_ids.append((f"{archive.source} record", archive.recid))
    return Document(
        aip=aip,
        archive=str(archive.id),
        base=str(archive.id),
        created=created,
        representation=representation,
        software=software,
        files=FileObjects(copied.files, acts),
        record_ids=tuple(record_ids),
        description=_description(archive),
        bag_info=tuple(copied.declarations.bag_info),
        outputs=tuple(copied.outputs),
        events=_Events(earlier, [event_xml(act.event, "3.0") for act in acts]),
        rights=rights,
        predecessor=predecessor,
        agents=[agent_xml(agent, "3.0") for agent in agents],
    )


class _Events(Iterable[str]):
    """Earlier events and those of this step, begun anew as often as they are asked for."""

    def __init__(self, earlier: Iterable[str], acts: Sequence[str]) -> None:
        self._earlier, self._acts = earlier, acts

    def __iter__(self) -> Iterator[str]:
        yield from self._earlier
        yield from self._acts


def _format(found: Identification | None) -> Format:
    if found is None or (found.key is None and not found.name):
        return Format("unknown", notes=(found.basis,)) if found and found.basis else _UNKNOWN
    notes = tuple(note for note in (found.basis, "tentative: by name only" if found.tentative else "") if note)
    return Format(found.name or found.key or "unknown", found.version, found.key, found.media_type, notes)


def _description(archive: ArchiveView) -> Description | None:
    elements = [("title", archive.title)] if archive.title else []
    for key, element in _DUBLIN_CORE.items():
        if key == "title" and archive.title:
            continue
        elements += [(element, text) for text in _texts(archive.metadata.get(key))]
    if archive.recid and archive.source:
        elements.append(("identifier", f"{archive.source}:{archive.recid}"))
    return Description(tuple(elements)) if elements else None


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        return _texts(value.get("name") or value.get("title") or value.get("id") or value.get("identifier"))
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _texts(item)]
    return []
