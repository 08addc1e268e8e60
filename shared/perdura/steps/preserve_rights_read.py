"""Rights in the descriptions that lie in a submission: DataCite, InvenioRDM, Zenodo, Dublin Core, MARC (docs/aip.md).

Descriptions are read as they go by, and only what they say of rights is kept. They are a stranger's: bounded, without
entities, and whatever is not of the expected form is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from lxml import etree

from perdura.errors import Rejected
from perdura.outcome import Finding
from perdura.packages.limits import LIMITS
from perdura.sources.markup import MARC, content, parse_xml
from perdura.steps.mapping.model import items, mapping, text

_PLACE = re.compile(r"(?:data/)?(?:datacite[^/]*|(?:meta|metadata)/(?:datacite|metadata)[^/]*)\.(?:json|xml)", re.ASCII)
"""Where descriptions lie: beside or in the payload, by name, and as harvests and CERN's tools keep what they got."""

_DOCUMENTS = 20
_MOST = 100
_SHOWN = 10_000
_EMBARGO_END = "info:eu-repo/date/embargoEnd/"
_DC = "{http://purl.org/dc/elements/1.1/}"

Chunk = bytes | bytearray | memoryview
Feed = Callable[[Chunk], None]


@dataclass
class ToldRights:
    """What the descriptions of a submission say: licences as (terms, address), days on which files become open.

    `shut` when one says that the record or its files are not for everybody, `undated` that this ends on some day.
    """

    licences: dict[tuple[str, str], None] = field(default_factory=dict)
    opens: dict[str, None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    shut: bool = False
    undated: bool = False
    _documents: int = 0

    def tap(self, path: str, size: int, feed: Feed) -> Feed:
        """Where the chunks of the file `path` of the submission go: to `feed`, and here when it is a description."""
        if not describes(path):
            return feed
        self._documents += 1
        if self._documents > _DOCUMENTS or size > LIMITS.tag_file:
            self._unread(path, "it is too large, or one of too many")
            return feed
        held = bytearray()

        def both(chunk: Chunk) -> None:
            feed(chunk)
            held.extend(chunk)
            if len(held) == size:
                self._read(path, bytes(held))

        return both

    def days(self) -> list[date]:
        """Those days on which files become open that can be read; a range stands for its first."""
        found = (day_of(told.partition("/")[0]) for told in self.opens)
        return [day for day in found if day is not None]

    def _read(self, path: str, data: bytes) -> None:
        try:
            if path.endswith(".json"):
                value = json.loads(data)
                found = _of_json(value)
                self._access(value)
            else:
                found = _of_xml(parse_xml(data, path))
            for licence, opens in found:
                self._semantics(licence)
                if licence and len(self.licences) < _MOST:
                    self.licences.setdefault((licence[0][:_SHOWN], licence[1][:_SHOWN]))
                if opens and len(self.opens) < _MOST:
                    self.opens.setdefault(opens[:_SHOWN])
        except (ValueError, RecursionError):
            self._unread(path, "it is not JSON")
        except Rejected as error:
            self._unread(path, error.message)

    def _access(self, value: Any) -> None:
        """What InvenioRDM, or the older form of Zenodo, says of who may see a record."""
        told = mapping(value)
        access, right = mapping(told.get("access")), mapping(told.get("metadata")).get("access_right")
        embargoed = bool(mapping(access.get("embargo")).get("active")) or right == "embargoed"
        closed = "restricted" in (access.get("record"), access.get("files")) or right in ("restricted", "closed")
        self.undated |= embargoed
        self.shut |= access.get("record") == "restricted" or (closed and not embargoed)

    def _semantics(self, licence: tuple[str, str] | None) -> None:
        """Access rights by the vocabulary that OpenAIRE has repositories put among the rights."""
        for words in licence or ():
            level = words.strip().lower().removeprefix("info:eu-repo/semantics/")
            self.undated |= level == "embargoedaccess"
            self.shut |= level in ("closedaccess", "restrictedaccess")

    def _unread(self, path: str, why: str) -> None:
        if len(self.findings) < _DOCUMENTS:
            message = f"{path} could not be read for rights and is only kept: {why}"
            self.findings.append(Finding("rights-not-read", message, "warning", path))


def describes(path: str) -> bool:
    """Whether a file of a submission is a description that is read for rights."""
    return _PLACE.fullmatch(path) is not None


def sip_json_of(data: bytes | bytearray) -> Mapping[str, Any]:
    """What a sip.json says (cern-oais-platform.md §2); empty when it is none that can be read."""
    try:
        return mapping(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def embargo_of(sip_json: Mapping[str, Any]) -> object:
    """The end of an embargo as a sip.json keeps the depositor's own words for it; None when it has none."""
    return mapping(sip_json.get("usr-meta")).get("embargo_timestamp")


def day_of(value: object) -> date | None:
    """The day of an instant (Unix seconds) or a date; the first one of a year or month. None for anything else."""
    try:
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC).date()
        told = str(value).strip()
        return date.fromisoformat(told[:10] + _FIRST.get(len(told), ""))
    except (ValueError, OverflowError, OSError):
        return None


_FIRST = {4: "-01-01", 7: "-01"}
"""What makes a day of a year, or of a month: its first."""

_Found = tuple[tuple[str, str] | None, str | None]
"""A licence, or a day."""


def licences_of(value: object) -> Iterator[tuple[str, str]]:
    """(terms, address) of text, an item of DataCite's `rightsList`, of InvenioRDM's `rights`, or a list of them."""
    if isinstance(value, str) and value.strip():
        yield value.strip(), value.strip() if value.strip().startswith(("http://", "https://")) else ""
    elif isinstance(value, Mapping):
        title = value.get("title")
        if isinstance(title, Mapping):
            title = title.get("en") or next(iter(title.values()), None)
        address = next(
            filter(None, (text(value.get(key)) for key in ("rightsUri", "rightsURI", "link", "url"))),
            text(mapping(value.get("props")).get("url")) or "",
        )
        terms = text(value.get("rights")) or text(title) or text(value.get("rightsIdentifier")) or text(value.get("id"))
        if terms or address:
            yield terms or address, address
    elif isinstance(value, (list, tuple)):
        for item in value:
            if not isinstance(item, (list, tuple)):
                yield from licences_of(item)


def _of_json(value: Any) -> Iterator[_Found]:
    """DataCite with or without the envelope of JSON:API; InvenioRDM; Zenodo's older form."""
    told = mapping(value[0] if isinstance(value, list) and value else value)
    datacite = mapping(mapping(told.get("data")).get("attributes")) or told
    yield from ((licence, None) for licence in licences_of(datacite.get("rightsList")))
    yield from ((None, text(each.get("date"))) for each in map(mapping, items(datacite.get("dates"))) if _opens(each))
    metadata = mapping(told.get("metadata"))
    for name in ("rights", "license"):
        yield from ((licence, None) for licence in licences_of(metadata.get(name)))
    embargo = mapping(mapping(told.get("access")).get("embargo"))
    if embargo.get("active"):
        yield None, text(embargo.get("until"))
    if metadata.get("access_right") == "embargoed":
        yield None, text(metadata.get("embargo_date"))


def _opens(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("dateType")).lower() == "available"


def _of_xml(root: etree._Element) -> Iterator[_Found]:
    """DataCite of any kernel, also within an answer of OAI-PMH; Dublin Core; field 540 of MARC."""
    for element in root.iter("{*}resource"):
        if not str(element.tag).startswith("{http://datacite.org/schema/kernel-"):
            continue
        for rights in element.iter("{*}rights"):
            told = {"rights": content(rights), "rightsUri": rights.get("rightsURI")}
            yield from ((licence, None) for licence in licences_of(told))
        for dated in element.iter("{*}date"):
            if _opens({"dateType": dated.get("dateType")}):
                yield None, content(dated)
    for element in root.iter(f"{_DC}date"):
        day = content(element) or ""
        if day.startswith(_EMBARGO_END):
            yield None, day.removeprefix(_EMBARGO_END)
    for element in root.iter(f"{_DC}rights"):
        yield from ((licence, None) for licence in licences_of(content(element)))
    for element in root.iter(f"{MARC}datafield", "datafield"):
        if element.get("tag") == "540":
            fields = {part.get("code"): content(part) for part in element.iter("{*}subfield")}
            told = {"rights": fields.get("a"), "rightsUri": fields.get("u")}
            yield from ((licence, None) for licence in licences_of(told))
