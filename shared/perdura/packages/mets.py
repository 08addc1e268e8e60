"""Writes the METS 1.12 document of an AIP, with PREMIS 3 inside, as a stream (archivematica.md 8.5).

Nothing here grows with the number of files but the time. It is written as text because an XML library would repeat
the namespaces on every element (8.5).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from perdura.packages.aip_members import Member
from perdura.packages.mets_objects import FileObject, entity_object, file_object, representation_object
from perdura.packages.mets_xml import escaped, href

PROFILE = "urn:perdura:mets-profile:aip:1"
ORIGINAL = "original"
SUBMISSION_DOCUMENTATION = "submissionDocumentation"
GROUPS = (ORIGINAL, SUBMISSION_DOCUMENTATION)

_GATHERED = 1 << 16


@dataclass(frozen=True, slots=True)
class SoftwareNote:
    """The software that made the package, and what it says of its own limits."""

    name: str
    version: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """Dublin Core elements (name without prefix, value) that describe the intellectual entity."""

    elements: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Document:
    """All that an AIP's METS says. `files` are in the order of their paths, component by component."""

    aip: str
    archive: str
    base: str
    created: datetime
    representation: str
    software: SoftwareNote
    files: Sequence[FileObject]
    record_ids: tuple[tuple[str, str], ...] = ()
    """Identifiers elsewhere as (type, value): source and record."""
    description: Description | None = None
    bag_info: tuple[tuple[str, str], ...] = ()
    events: Iterable[str] = ()
    """PREMIS 3 elements, each as text that declares its own namespaces; so are `agents` and `rights`."""
    agents: Sequence[str] = ()
    outputs: Sequence[Member] = ()
    """Outputs of tools that described files, one file a tool, which are linked from the package's section."""
    rights: Sequence[str] = ()
    predecessor: str | None = None
    """Id of the AIP that this one follows."""


def write(document: Document) -> Iterator[bytes]:
    """The document in pieces of some 64 KiB; the same document always gives the same bytes."""
    gathered: list[str] = []
    size = 0
    for part in _parts(document):
        gathered.append(part)
        size += len(part)
        if size >= _GATHERED:
            yield "".join(gathered).encode()
            gathered.clear()
            size = 0
    yield "".join(gathered).encode()


def measure(document: Document) -> int:
    """Size of the document in bytes: a tar wants it before the first of them."""
    return sum(len(piece) for piece in write(document))


def _parts(document: Document) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield "<!-- Every xlink:href is relative to the directory data/ of the bag. -->\n"
    yield (
        '<mets:mets xmlns:mets="http://www.loc.gov/METS/" xmlns:premis="http://www.loc.gov/premis/v3"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        f' OBJID="urn:uuid:{document.aip}" TYPE="AIP" PROFILE="{PROFILE}">'
    )
    yield from _header(document)
    yield from _descriptions(document)
    for number, file in enumerate(document.files, 1):
        yield _file_section(number, file, document.representation)
    yield from _package_section(document)
    yield from _file_groups(document)
    yield from _structure(document)
    yield "</mets:mets>\n"


def _header(document: Document) -> Iterator[str]:
    yield f'<mets:metsHdr CREATEDATE="{document.created.isoformat()}" RECORDSTATUS="COMPLETE">'
    software = document.software
    yield '<mets:agent ROLE="CREATOR" TYPE="OTHER" OTHERTYPE="SOFTWARE">'
    yield f"<mets:name>{escaped(software.name)} {escaped(software.version)}</mets:name>"
    for note in software.notes:
        yield f"<mets:note>{escaped(note)}</mets:note>"
    yield "</mets:agent>"
    yield f'<mets:altRecordID TYPE="archive">{escaped(document.archive)}</mets:altRecordID>'
    for kind, value in document.record_ids:
        yield f'<mets:altRecordID TYPE="{escaped(kind)}">{escaped(value)}</mets:altRecordID>'
    yield "</mets:metsHdr>"


def _descriptions(document: Document) -> Iterator[str]:
    yield '<mets:dmdSec ID="dmdSec_1"><mets:mdWrap MDTYPE="PREMIS:OBJECT"><mets:xmlData>'
    yield entity_object(document.archive, document.aip, document.record_ids, document.base, document.predecessor)
    yield "</mets:xmlData></mets:mdWrap></mets:dmdSec>"
    if document.description and document.description.elements:
        yield '<mets:dmdSec ID="dmdSec_2"><mets:mdWrap MDTYPE="DC"><mets:xmlData>'
        for name, value in document.description.elements:
            yield f"<dc:{name}>{escaped(value)}</dc:{name}>"
        yield "</mets:xmlData></mets:mdWrap></mets:dmdSec>"


def _file_section(number: int, file: FileObject, representation: str) -> str:
    return (
        f'<mets:amdSec ID="amdSec_{number}"><mets:techMD ID="techMD_{number}">'
        '<mets:mdWrap MDTYPE="PREMIS:OBJECT"><mets:xmlData>'
        f"{file_object(file, representation)}</mets:xmlData></mets:mdWrap></mets:techMD></mets:amdSec>"
    )


def _package_section(document: Document) -> Iterator[str]:
    yield '<mets:amdSec ID="amdSec_pkg"><mets:techMD ID="techMD_pkg">'
    yield '<mets:mdWrap MDTYPE="PREMIS:OBJECT"><mets:xmlData>'
    yield representation_object(document.representation, document.base, document.archive)
    yield "</mets:xmlData></mets:mdWrap></mets:techMD>"
    for member in document.outputs:
        yield _output(member)
    for number, statement in enumerate(document.rights, 1):
        yield f'<mets:rightsMD ID="rightsMD_{number}"><mets:mdWrap MDTYPE="PREMIS:RIGHTS"><mets:xmlData>'
        yield statement
        yield "</mets:xmlData></mets:mdWrap></mets:rightsMD>"
    if document.bag_info:
        yield '<mets:sourceMD ID="sourceMD_1"><mets:mdWrap MDTYPE="OTHER" OTHERMDTYPE="BagIt"><mets:xmlData>'
        yield '<bag-info xmlns="urn:perdura:bag-info:1">'
        for label, value in document.bag_info:
            yield f'<field label="{escaped(label)}">{escaped(value)}</field>'
        yield "</bag-info></mets:xmlData></mets:mdWrap></mets:sourceMD>"
    for kind, elements in (("EVENT", document.events), ("AGENT", document.agents)):
        yield from _provenance(kind, elements)
    yield "</mets:amdSec>"


def _output(member: Member) -> str:
    tool = member.path.rpartition("/")[2].removesuffix(".jsonl")
    return (
        f'<mets:techMD ID="techMD_{escaped(tool)}"><mets:mdRef LOCTYPE="OTHER" OTHERLOCTYPE="SYSTEM" MDTYPE="OTHER"'
        f' OTHERMDTYPE="{escaped(tool)}" MIMETYPE="application/x-ndjson" SIZE="{member.size}"'
        f' CHECKSUM="{member.digests["sha256"]}" CHECKSUMTYPE="SHA-256" xlink:type="simple"'
        f' xlink:href="{escaped(href(_below_data(member.path)))}"/></mets:techMD>'
    )


def _provenance(kind: str, elements: Iterable[str]) -> Iterator[str]:
    for number, element in enumerate(elements, 1):
        yield (
            f'<mets:digiprovMD ID="digiprovMD_{kind.lower()}_{number}">'
            f'<mets:mdWrap MDTYPE="PREMIS:{kind}"><mets:xmlData>'
        )
        yield element
        yield "</mets:xmlData></mets:mdWrap></mets:digiprovMD>"


def _file_groups(document: Document) -> Iterator[str]:
    places: dict[str, array[int]] = {group: array("L") for group in GROUPS}
    for place, file in enumerate(document.files):
        places[file.group].append(place)
    if not len(document.files):
        return
    yield "<mets:fileSec>"
    for group in (group for group in GROUPS if places[group]):
        yield f'<mets:fileGrp USE="{group}">'
        for place in places[group]:
            yield _file_entry(place + 1, document.files[place])
        yield "</mets:fileGrp>"
    yield "</mets:fileSec>"


def _file_entry(number: int, file: FileObject) -> str:
    media_type = f' MIMETYPE="{escaped(file.format.media_type)}"' if file.format.media_type else ""
    location = escaped(href(_below_data(file.path)))
    return (
        f'<mets:file ID="file-{file.id}" ADMID="amdSec_{number}"{media_type} SIZE="{file.size}"'
        f' CHECKSUM="{file.digests["sha256"]}" CHECKSUMTYPE="SHA-256">'
        f'<mets:FLocat LOCTYPE="OTHER" OTHERLOCTYPE="SYSTEM" xlink:type="simple" xlink:href="{location}"/>'
        "</mets:file>"
    )


def _structure(document: Document) -> Iterator[str]:
    described = "dmdSec_1 dmdSec_2" if document.description and document.description.elements else "dmdSec_1"
    yield '<mets:structMap TYPE="physical" LABEL="Directories and files below data/">'
    yield (f'<mets:div TYPE="Directory" LABEL="{escaped(document.base)}" DMDID="{described}" ADMID="amdSec_pkg">')
    opened: list[str] = []
    for file in document.files:
        *directories, name = _below_data(file.path).split("/")
        shared = 0
        while shared < min(len(opened), len(directories)) and opened[shared] == directories[shared]:
            shared += 1
        yield "</mets:div>" * (len(opened) - shared)
        for directory in directories[shared:]:
            yield f'<mets:div TYPE="Directory" LABEL="{escaped(directory)}">'
        opened = directories
        yield (f'<mets:div TYPE="Item" LABEL="{escaped(name)}"><mets:fptr FILEID="file-{file.id}"/></mets:div>')
    yield "</mets:div>" * (len(opened) + 1)
    yield "</mets:structMap>"


def _below_data(path: str) -> str:
    return path.removeprefix("data/")
