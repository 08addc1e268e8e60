"""Signposting (FAIR profile): typed links that lead machines from the landing page to everything else.

Level 1 puts them into the Link header of the landing page, level 2 into a link set (RFC 9264) without a limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from perdura.web.description import Description
from perdura.web.holdings import Holding
from perdura.web.schema_org import types_of

HEADER_ITEMS = 20
"""Files that are named in the header; a longer list is only in the link set."""


@dataclass(frozen=True, slots=True)
class Link:
    """One typed link (RFC 8288)."""

    target: str
    relation: str
    media_type: str | None = None
    profile: str | None = None


def links(description: Description, holdings: Iterable[Holding]) -> Iterator[Link]:
    """All links of a landing page."""
    base = description.url
    yield Link(f"https://doi.org/{description.doi}" if description.doi else base, "cite-as")
    yield Link("https://schema.org/AboutPage", "type")
    yield Link(f"https://schema.org/{types_of(description)[0]}", "type")
    yield Link(f"{base}/datacite.json", "describedby", "application/vnd.datacite.datacite+json")
    yield Link(f"{base}/schema.json", "describedby", "application/ld+json", "https://schema.org/")
    yield Link(f"{base}/premis.xml", "describedby", "application/xml", "http://www.loc.gov/premis/v3")
    for licence in description.licence_urls:
        yield Link(licence, "license")
    for holding in holdings:
        if holding.url is not None:
            yield Link(holding.url, "item", holding.media_type)


def header(description: Description, holdings: Sequence[Holding], *, complete: bool) -> str:
    """The Link header; with more files than fit it points to the link set alone."""
    shown = holdings if complete and len(holdings) <= HEADER_ITEMS else ()
    entries = [*links(description, shown), Link(f"{description.url}/linkset.json", "linkset", LINKSET)]
    return ", ".join(_entry(link) for link in entries)


LINKSET = "application/linkset+json"


def linkset(description: Description, holdings: Iterable[Holding]) -> dict[str, Any]:
    """The link set as JSON (RFC 9264 §4.2): of the landing page, and back from every other thing."""
    page: dict[str, Any] = {"anchor": description.url}
    back: list[dict[str, Any]] = []
    for link in links(description, holdings):
        page.setdefault(link.relation, []).append(_target(link))
        own = link.target.startswith(f"{description.url}/")
        if own and link.relation in {"item", "describedby"}:
            inverse = "collection" if link.relation == "item" else "describes"
            back.append({"anchor": link.target, inverse: [{"href": description.url, "type": "text/html"}]})
    return {"linkset": [page, *back]}


def back_link(description_url: str) -> str:
    """The Link header of a file: the landing page it belongs to."""
    return _entry(Link(description_url, "collection", "text/html"))


def _entry(link: Link) -> str:
    attributes = f'; rel="{link.relation}"'
    if link.media_type:
        attributes += f'; type="{_quoted(link.media_type)}"'
    if link.profile:
        attributes += f'; profile="{link.profile}"'
    return f"<{_address(link.target)}>{attributes}"


def _target(link: Link) -> dict[str, str]:
    found = {"href": link.target}
    if link.media_type:
        found["type"] = link.media_type
    if link.profile:
        found["profile"] = link.profile
    return found


def _quoted(text: str) -> str:
    return "".join(character for character in text if character.isascii() and character.isprintable()).replace('"', "")


def _address(target: str) -> str:
    """Nothing that could end the angle brackets or the header line."""
    return "".join(c for c in target if c.isascii() and c.isprintable() and c not in '<>" ')
