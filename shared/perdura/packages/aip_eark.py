"""The profile `eark`: the AIP's payload as an E-ARK information package (CSIP 2.2.0; archivematica.md §9).

The package is the only directory of the bag's payload. Its descriptions are written when all files are: PREMIS and
Dublin Core first, then the METS of the representation, then the METS of the package, which holds their digests.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import overload

from perdura.packages.aip import AipWriter, Layout
from perdura.packages.aip_members import Member
from perdura.packages.mets import SUBMISSION_DOCUMENTATION, Document
from perdura.packages.mets_objects import FileObject, entity_object, file_object, representation_object
from perdura.packages.mets_xml import escaped, href

PROFILE = "https://earkcsip.dilcis.eu/profile/E-ARK-CSIP.xml"

_REPRESENTATION = "representations/rep1/"
_PREMIS = "metadata/preservation/premis.xml"
_DC = "metadata/descriptive/dc.xml"
_REGISTERED = frozenset(
    {
        "application/gzip", "application/json", "application/msword", "application/pdf", "application/rtf",
        "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.oasis.opendocument.text",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/xml",
        "application/zip", "audio/mpeg", "image/gif", "image/jpeg", "image/png", "image/tiff", "text/csv",
        "text/html", "text/plain", "video/mp4",
    }
)  # fmt: skip
"""Media types that validators know as registered; every other file is an octet stream to them (rule CSIP68)."""

_OCTETS = "application/octet-stream"


def identifier(aip: str) -> str:
    """OBJID of the package and name of its directory, which must be the same (rule CSIP1)."""
    return f"urn-uuid-{aip}"


def layout(aip: str) -> Layout:
    """Where the payload lies in an E-ARK package within the bag."""
    root = f"data/{identifier(aip)}/"
    return Layout(f"{root}{_REPRESENTATION}data/", f"{root}documentation/submission/")


def describe(writer: AipWriter, document: Document) -> None:
    """Write PREMIS, Dublin Core and both METS documents; the files of `document` must be in the AIP already."""
    root = f"data/{identifier(document.aip)}/"
    inner = root + _REPRESENTATION
    data = _Part(document.files, documentation=False)
    documentation = _Part(document.files, documentation=True)
    premis = _add(writer, root + _PREMIS, lambda: _history(document, documentation))
    descriptive = _add(writer, root + _DC, lambda: _dublin_core(document))
    objects = _add(writer, inner + _PREMIS, lambda: _objects(document, data))
    representation = _add(writer, inner + "METS.xml", lambda: _representation(document, data, inner, objects))
    _add(
        writer,
        root + "METS.xml",
        lambda: _package(document, root, premis, descriptive, representation, documentation),
    )


class _Part(Sequence[FileObject]):
    """The files of a document that are documentation, or are not, each made when it is asked for: there may be many."""

    def __init__(self, files: Sequence[FileObject], *, documentation: bool) -> None:
        self._files = files
        self._places = array("L")
        for place, file in enumerate(files):
            if (file.group == SUBMISSION_DOCUMENTATION) is documentation:
                self._places.append(place)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> FileObject: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[FileObject]: ...

    def __getitem__(self, number: int | slice) -> FileObject | Sequence[FileObject]:
        if isinstance(number, slice):
            return [self._files[place] for place in self._places[number]]
        return self._files[self._places[number]]


def _add(writer: AipWriter, path: str, parts: Callable[[], Iterator[str]]) -> Member:
    size = sum(len(part.encode()) for part in parts())
    member, _ = writer.add(path, size, (part.encode() for part in parts()))
    return member


_PREMIS_START = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<premis:premis xmlns:premis="http://www.loc.gov/premis/v3"'
    ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="3.0">'
)


def _objects(document: Document, files: Sequence[FileObject]) -> Iterator[str]:
    """PREMIS of the representation: itself and its files."""
    yield _PREMIS_START
    yield representation_object(document.representation, document.base, document.archive)
    for file in files:
        yield file_object(file, document.representation)
    yield "</premis:premis>\n"


def _history(document: Document, files: Sequence[FileObject]) -> Iterator[str]:
    """PREMIS of the package: the entity, the files of its documentation, all events, agents and rights."""
    yield _PREMIS_START
    yield entity_object(document.archive, document.aip, document.record_ids, document.base, document.predecessor)
    for file in files:
        yield file_object(file, document.representation)
    yield from document.events
    yield from document.agents
    for statement in document.rights:
        yield f"<premis:rights>{statement}</premis:rights>"
    yield "</premis:premis>\n"


def _dublin_core(document: Document) -> Iterator[str]:
    elements = document.description.elements if document.description else (("identifier", document.archive),)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
    for name, value in elements:
        yield f"<dc:{name}>{escaped(value)}</dc:{name}>"
    yield "</metadata>\n"


def _start(document: Document, objid: str) -> str:
    """Root element and header that both METS documents have in common (CSIP1 to CSIP16)."""
    created = document.created.isoformat()
    software = document.software
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<mets xmlns="http://www.loc.gov/METS/"'
        ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:csip="https://DILCIS.eu/XML/METS/CSIPExtensionMETS"'
        f' OBJID="{objid}" TYPE="Other" csip:OTHERTYPE="Research record" csip:CONTENTINFORMATIONTYPE="MIXED"'
        f' PROFILE="{PROFILE}" LABEL="{escaped(document.base)}">'
        f'<metsHdr CREATEDATE="{created}" csip:OAISPACKAGETYPE="AIP" RECORDSTATUS="NEW">'
        f'<agent ROLE="CREATOR" TYPE="OTHER" OTHERTYPE="SOFTWARE"><name>{escaped(software.name)}</name>'
        f'<note csip:NOTETYPE="SOFTWARE VERSION">{escaped(software.version)}</note></agent></metsHdr>'
    )


def _representation(document: Document, files: Sequence[FileObject], root: str, objects: Member) -> Iterator[str]:
    yield _start(document, "rep1")
    yield _preservation(objects, document.created.isoformat())
    yield from _file_group("ID-data", "Data", document, files, root)
    yield '<structMap ID="ID-structMap-rep1" TYPE="PHYSICAL" LABEL="CSIP"><div ID="ID-div-rep1" LABEL="rep1">'
    yield '<div ID="ID-div-rep1-metadata" LABEL="Metadata" ADMID="ID-premis"/>'
    yield from _division("ID-div-rep1-data", "Data", "ID-data" if files else None)
    yield "</div></structMap></mets>\n"


def _package(
    document: Document,
    root: str,
    premis: Member,
    descriptive: Member,
    representation: Member,
    documentation: Sequence[FileObject],
) -> Iterator[str]:
    yield _start(document, identifier(document.aip))
    created = document.created.isoformat()
    yield (
        f'<dmdSec ID="ID-dmd-dc" CREATED="{created}" STATUS="CURRENT">'
        f'<mdRef ID="ID-ref-dc" {_locator(_DC)} MDTYPE="DC" {_described(descriptive, created, "text/xml")}/></dmdSec>'
    )
    yield _preservation(premis, created)
    mets = f"{_REPRESENTATION}METS.xml"
    yield (
        '<fileSec ID="ID-fileSec"><fileGrp ID="ID-rep1" USE="Representations/rep1"'
        ' csip:CONTENTINFORMATIONTYPE="MIXED">'
        f'<file ID="ID-mets-rep1" {_described(representation, created, "text/xml")}><FLocat {_locator(mets)}/></file>'
        "</fileGrp>"
    )
    yield from _group("ID-documentation", "Documentation", document, documentation, root)
    yield (
        '</fileSec><structMap ID="ID-structMap" TYPE="PHYSICAL" LABEL="CSIP">'
        f'<div ID="ID-div" LABEL="{identifier(document.aip)}">'
        '<div ID="ID-div-metadata" LABEL="Metadata" ADMID="ID-premis" DMDID="ID-dmd-dc"/>'
    )
    yield from _division("ID-div-documentation", "Documentation", "ID-documentation" if documentation else None)
    yield (
        '<div ID="ID-div-representation" LABEL="Representations/rep1">'
        f'<mptr {_locator(mets)} xlink:title="ID-rep1"/></div></div></structMap></mets>\n'
    )


def _file_group(name: str, use: str, document: Document, files: Sequence[FileObject], root: str) -> Iterator[str]:
    if files:
        yield '<fileSec ID="ID-fileSec-rep1">'
        yield from _group(name, use, document, files, root)
        yield "</fileSec>"


def _group(name: str, use: str, document: Document, files: Sequence[FileObject], root: str) -> Iterator[str]:
    if not files:
        return
    created = document.created.isoformat()
    yield f'<fileGrp ID="{name}" USE="{use}">'
    for file in files:
        media_type = file.format.media_type if file.format.media_type in _REGISTERED else _OCTETS
        yield (
            f'<file ID="ID-{file.id}" MIMETYPE="{media_type}" SIZE="{file.size}" CREATED="{created}"'
            f' CHECKSUM="{file.digests["sha256"]}" CHECKSUMTYPE="SHA-256">'
            f"<FLocat {_locator(file.path.removeprefix(root))}/></file>"
        )
    yield "</fileGrp>"


def _division(name: str, label: str, group: str | None) -> Iterator[str]:
    yield f'<div ID="{name}" LABEL="{label}">' + (f'<fptr FILEID="{group}"/>' if group else "") + "</div>"


def _preservation(premis: Member, created: str) -> str:
    return (
        '<amdSec ID="ID-amd"><digiprovMD ID="ID-premis" STATUS="CURRENT">'
        f'<mdRef ID="ID-ref-premis" {_locator(_PREMIS)} MDTYPE="PREMIS" MDTYPEVERSION="3.0"'
        f" {_described(premis, created, 'text/xml')}/></digiprovMD></amdSec>"
    )


def _described(member: Member, created: str, media_type: str) -> str:
    return (
        f'MIMETYPE="{media_type}" SIZE="{member.size}" CREATED="{created}"'
        f' CHECKSUM="{member.digests["sha256"]}" CHECKSUMTYPE="SHA-256"'
    )


def _locator(path: str) -> str:
    return f'LOCTYPE="URL" xlink:type="simple" xlink:href="{escaped(href(path))}"'
