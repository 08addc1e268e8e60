"""Reads a METS with PREMIS inside as a stream: objects, events and agents one by one (archivematica.md 7.3 to 7.5).

Nothing that was read stays in memory, whatever the size of the document and however it is nested: time grows with its
length, memory only with the number of directories and files that its file section lists at once (none).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from lxml import etree

from perdura.errors import Rejected

LARGEST = 16 * 2**30
"""Bytes of a METS that are read: that of 200,000 objects with 1.4 million events has 1.5 GB."""
LARGEST_SECTION = 64 * 2**20
"""Bytes that one wrapped piece of metadata may have (the output of a tool, a rights statement)."""

_PROLOG = 1 << 16
_METS = "{http://www.loc.gov/METS/}"
_DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
_XLINK = "{http://www.w3.org/1999/xlink}"
_PREMIS = ("{http://www.loc.gov/premis/v3}", "{info:lc/xmlns/premis-v2}")
_ROOTS = (f"{_METS}mets", *(f"{namespace}premis" for namespace in _PREMIS))
_WATCHED = tuple(
    [
        f"{_METS}{name}"
        for name in ("metsHdr", "amdSec", "dmdSec", "techMD", "digiprovMD", "rightsMD", "sourceMD", "mdWrap")
    ]
    + [f"{_METS}{name}" for name in ("fileGrp", "file", "structMap", "div", "fptr")]
    + [
        f"{namespace}{name}"
        for namespace in _PREMIS
        for name in ("object", "event", "agent", "rights", "rightsStatement")
    ]
)


@dataclass(frozen=True, slots=True)
class MetsObject:
    """A PREMIS object: `kind` is file, representation or intellectualEntity; digests by lower-case algorithm.

    `sources` are the identifiers of the objects that it was made from.
    """

    section: str
    kind: str
    identifiers: tuple[tuple[str, str], ...]
    original_name: str
    size: int | None
    digests: dict[str, str] = field(default_factory=dict)
    format_name: str | None = None
    format_version: str | None = None
    format_key: str | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetsEvent:
    """A PREMIS event element; `about` is the object of the section it stands in, if that has one."""

    section: str
    about: MetsObject | None
    element: etree._Element


@dataclass(frozen=True, slots=True)
class MetsAgent:
    """A PREMIS agent element."""

    element: etree._Element


@dataclass(frozen=True, slots=True)
class MetsFile:
    """An entry of the file section: its use, its place relative to `data/`, its administrative sections."""

    use: str
    href: str
    sections: tuple[str, ...]
    id: str


@dataclass(frozen=True, slots=True)
class MetsHead:
    """When the document was made, and the identifiers it has elsewhere as (type, value)."""

    created: str
    records: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MetsDescription:
    """Dublin Core of the whole: (element, value)."""

    elements: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class MetsRights:
    """A rights statement: its basis in the words of whoever made it, what it restricts, and until which day."""

    basis: str
    restriction: str
    until: str = ""


Part = MetsObject | MetsEvent | MetsAgent | MetsFile | MetsHead | MetsDescription | MetsRights


class BadMets(Rejected):
    """What should be a METS cannot be read as one."""

    code = "bad-mets"


class MetsTooLarge(Rejected):
    """It is larger than is read here, which says nothing against it."""

    code = "mets-beyond-limits"


def read_mets(chunks: Iterable[bytes | memoryview]) -> Iterator[Part]:
    """The parts of a METS in the order of the document; an element is only good until the next part is asked for.

    Raises BadMets for what is not well-formed or has a document type, MetsTooLarge beyond a limit.
    """
    parser = etree.XMLPullParser(
        events=("start", "end"),
        tag=_WATCHED,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
        remove_comments=True,
        remove_pis=True,
    )
    reading = _Reading()
    taken = since = 0
    prolog = bytearray()
    try:
        for chunk in chunks:
            if taken < _PROLOG:
                _refuse_document_type(prolog, chunk)
            taken += len(chunk)
            since += len(chunk)
            if taken > LARGEST:
                raise MetsTooLarge(f"The METS is larger than {LARGEST} bytes.")
            parser.feed(bytes(chunk))
            for event, element in parser.read_events():
                since = 0
                yield from reading.started(element) if event == "start" else reading.ended(element)
            if since > LARGEST_SECTION:
                raise MetsTooLarge(f"A section of the METS is larger than {LARGEST_SECTION} bytes.")
        root = parser.close()
    except etree.XMLSyntaxError as error:
        raise BadMets(f"The METS is not well-formed: {error.msg}") from error
    if root.tag not in _ROOTS:
        raise BadMets("The document is neither METS nor PREMIS.")


def _refuse_document_type(prolog: bytearray, chunk: bytes | memoryview) -> None:
    """Entities are declared before the root element: such a document is refused before it is parsed."""
    prolog += chunk[:_PROLOG]
    if b"<!DOCTYPE" in prolog or b"<!\0D\0O\0C" in prolog:
        raise BadMets("A METS with a document type is not read.")


class _Reading:
    """Where the reader is: the section, its object, the use of the file group."""

    def __init__(self) -> None:
        self._section = ""
        self._about: MetsObject | None = None
        self._use = ""

    def started(self, element: etree._Element) -> Iterator[Part]:
        if element.tag in (f"{_METS}amdSec", f"{_METS}dmdSec"):
            self._section, self._about = element.get("ID", ""), None
        elif element.tag == f"{_METS}fileGrp":
            self._use = element.get("USE", self._use)
        return iter(())

    def ended(self, element: etree._Element) -> Iterator[Part]:
        name = etree.QName(element).localname
        if element.tag.startswith(_PREMIS):
            if name == "object":
                found = _object(self._section, element)
                if self._about is None:
                    self._about = found
                yield found
            elif name == "event":
                yield MetsEvent(self._section, self._about, element)
            elif name == "agent":
                yield MetsAgent(element)
            elif name == "rightsStatement":
                until = next(element.iterfind(".//{*}termOfRestriction/{*}endDate"), None)
                day = (until.text or "").strip() if until is not None else ""
                yield MetsRights(_deep(element, "otherRightsBasis"), _deep(element, "restriction"), day)
            if etree.QName(element.getparent()).localname == "premis":
                _forget(element)
            return
        if name == "file":
            yield from self._file(element)
        elif name == "metsHdr":
            records = [
                (each.get("TYPE", ""), (each.text or "").strip()) for each in element.iterfind(f"{_METS}altRecordID")
            ]
            yield MetsHead(element.get("CREATEDATE", ""), tuple(records))
        elif name == "mdWrap" and element.get("MDTYPE") == "DC":
            terms = [each for each in element.iter() if isinstance(each.tag, str) and each.tag.startswith(_DUBLIN_CORE)]
            yield MetsDescription(tuple((etree.QName(each).localname, (each.text or "").strip()) for each in terms))
        if name in {"techMD", "digiprovMD", "rightsMD", "sourceMD", "amdSec", "dmdSec", "file", "div", "fptr"}:
            _forget(element)

    def _file(self, element: etree._Element) -> Iterator[MetsFile]:
        place = element.find(f"{_METS}FLocat")
        if place is not None:
            href = unquote(place.get(f"{_XLINK}href", ""))
            yield MetsFile(self._use, href, tuple(element.get("ADMID", "").split()), element.get("ID", ""))


def _forget(element: etree._Element) -> None:
    """Let go of an element that was read, and of its elder brothers; its own tag stays, the parser needs it."""
    element.clear()
    parent = element.getparent()
    if parent is not None:
        while element.getprevious() is not None:
            del parent[0]


def _object(section: str, element: etree._Element) -> MetsObject:
    kind = element.get("{http://www.w3.org/2001/XMLSchema-instance}type", "file").rpartition(":")[2]
    identifiers = tuple(
        (_text(each, "objectIdentifierType"), _text(each, "objectIdentifierValue"))
        for each in element.iterfind("{*}objectIdentifier")
    )
    about = element.find("{*}objectCharacteristics")
    sources = tuple(_sources(element))
    if about is None:
        return MetsObject(section, kind, identifiers, _text(element, "originalName"), None, sources=sources)
    size = _text(about, "size")
    return MetsObject(
        section,
        kind,
        identifiers,
        _text(element, "originalName"),
        int(size) if size.isdecimal() else None,
        {
            _text(each, "messageDigestAlgorithm").lower().replace("-", ""): _text(each, "messageDigest").lower()
            for each in about.iterfind("{*}fixity")
        },
        about.findtext("{*}format/{*}formatDesignation/{*}formatName") or None,
        about.findtext("{*}format/{*}formatDesignation/{*}formatVersion") or None,
        about.findtext("{*}format/{*}formatRegistry/{*}formatRegistryKey") or None,
        sources,
    )


def _deep(element: etree._Element, name: str) -> str:
    return next((each.text or "" for each in element.iter(f"{{*}}{name}")), "").strip()


def _sources(element: etree._Element) -> Iterator[str]:
    for relationship in element.iterfind("{*}relationship"):
        kind, detail = _text(relationship, "relationshipType"), _text(relationship, "relationshipSubType")
        if (kind.lower(), detail.lower()) == ("derivation", "has source"):
            for tag in ("relatedObjectIdentifier", "relatedObjectIdentification"):  # of PREMIS 3, of PREMIS 2
                for related in relationship.iterfind(f"{{*}}{tag}"):
                    yield _text(related, "relatedObjectIdentifierValue")


def _text(element: etree._Element, name: str) -> str:
    return (element.findtext(f"{{*}}{name}") or "").strip()
