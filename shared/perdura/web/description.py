"""What an Archive is about, for a citation and for machines: one value out of what the source told.

The source's own metadata is kept whole in the AIP; here is only what every reader understands. Nothing is invented:
what is not known is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from datetime import date as day
from typing import Any
from uuid import UUID

from perdura.registry import embargo
from perdura.steps.mapping.people import orcid_of

_TAG = re.compile(r"</?[A-Za-z!][^<>]{0,2000}>")
_SPACE = re.compile(r"[ \t\r\f\v]+")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_DOI = re.compile(r"10\.\d{4,9}/[!-~]+")
_BAG_INFO = {
    "External-Description": "description",
    "Internal-Sender-Description": "description",
    "Source-Organization": "publisher",
    "Organization": "publisher",
    "Contact-Name": "contact",
}


@dataclass(frozen=True, slots=True)
class Description:
    """Title, creators and the rest of a citation of one published Archive."""

    id: UUID
    title: str
    url: str
    published_at: datetime
    creators: tuple[str, ...] = ()
    creator_urls: Mapping[str, str] = field(default_factory=dict)
    """What identifies a creator, by name: the address of an ORCID iD."""
    date: str | None = None
    publisher: str | None = None
    description: str | None = None
    resource_type: str | None = None
    version: str | None = None
    doi: str | None = None
    licences: tuple[str, ...] = ()
    source: str | None = None
    recid: str | None = None
    source_url: str | None = None
    embargo: day | None = None
    """The day on which the embargo on its files ends, while there is one."""

    @property
    def year(self) -> str:
        """Year of publication at the source, else the year in which we published it."""
        return self.date[:4] if self.date else f"{self.published_at:%Y}"

    @property
    def licence_urls(self) -> tuple[str, ...]:
        """Those licences that are addresses, or SPDX identifiers as addresses."""
        return tuple(
            licence if licence.startswith(("http://", "https://")) else f"https://spdx.org/licenses/{licence}"
            for licence in self.licences
            if re.fullmatch(r"https?://\S+|[A-Za-z0-9][A-Za-z0-9.+-]*", licence)
        )

    @property
    def citation(self) -> str:
        """The citation in the form that DataCite recommends."""
        creators = "; ".join(self.creators[:10]) + (" et al." if len(self.creators) > 10 else "")
        parts = [f"{creators} ({self.year})" if creators else f"({self.year})", self.title]
        if self.version:
            parts.append(f"Version {self.version}")
        if self.publisher:
            parts.append(self.publisher)
        parts.append(f"https://doi.org/{self.doi}" if self.doi else self.url)
        return ". ".join(part.rstrip(".") for part in parts)


def describe(row: Any, url: str, fallback_publisher: str) -> Description:
    """The description of a published Archive (a row of `queries.published`)."""
    told: Mapping[str, Any] = row.metadata if isinstance(row.metadata, dict) else {}
    bag = _bag_info(told.get("bag_info"))
    doi = _text(told.get("doi"))
    dated = _text(told.get("publication_date"))
    source_url = _text(told.get("url"))
    return Description(
        id=row.id,
        title=row.title or str(row.id),
        url=url,
        published_at=row.published_at,
        creators=tuple(_creators(told.get("creators"))),
        creator_urls=dict(_orcids(told.get("orcids"))),
        date=dated if dated and _DATE.match(dated) else None,
        publisher=_text(told.get("publisher")) or bag.get("publisher") or fallback_publisher,
        description=plain(_text(told.get("description")) or bag.get("description")),
        resource_type=_text(told.get("resource_type")),
        version=_text(told.get("version")),
        doi=doi if doi and _DOI.fullmatch(doi) else None,
        licences=tuple(_texts(told.get("licence"))),
        source=row.source,
        recid=row.recid,
        source_url=source_url if source_url and source_url.startswith(("http://", "https://")) else None,
        embargo=embargo.ends(told, datetime.now(UTC)),
    )


def plain(text: str | None) -> str | None:
    """Text of a description that may be HTML: tags are dropped, entities are left as they are written."""
    if text is None:
        return None
    without = _SPACE.sub(" ", _TAG.sub(" ", text)).strip()
    return without[:20_000] or None


def _bag_info(pairs: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs if isinstance(pairs, list) else []:
        match pair:
            case [str(label), str(value)] if label in _BAG_INFO:
                found.setdefault(_BAG_INFO[label], value)
    return found


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _texts(value: Any) -> Iterable[str]:
    for item in value if isinstance(value, list) else [value]:
        text = _text(item)
        if text is not None:
            yield text


def _creators(value: Any) -> Iterable[str]:
    for item in value if isinstance(value, list) else []:
        text = _text(item.get("name") if isinstance(item, dict) else item)
        if text is not None:
            yield text


def _orcids(told: Any) -> Iterable[tuple[str, str]]:
    for name, value in told.items() if isinstance(told, dict) else ():
        found = orcid_of(value)
        if found is not None:
            yield name, f"https://orcid.org/{found}"
