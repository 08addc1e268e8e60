"""Signposting (FAIR profile): typed links that lead machines from the landing page to everything else.

Level 1 puts them into the Link headers of the landing page, of its metadata and of its files; level 2 into a link set
(RFC 9264), to which all of these lead.
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
    yield from _authors(description)
    yield from _licence(description)
    yield Link(f"{base}/datacite.json", "describedby", "application/vnd.datacite.datacite+json")
    yield Link(f"{base}/schema.json", "describedby", "application/ld+json", "https://schema.org/")
    yield Link(f"{base}/premis.xml", "describedby", "application/xml", "http://www.loc.gov/premis/v3")
    for holding in holdings:
        if holding.url is not None:
            yield Link(holding.url, "item", holding.media_type)


def _authors(description: Description) -> Iterator[Link]:
    for address in dict.fromkeys(description.creator_urls.values()):
        yield Link(address, "author")


def _licence(description: Description) -> Iterator[Link]:
    """The licence; the profile knows one only, so where there are several each is in the metadata."""
    if len(description.licence_urls) == 1:
        yield Link(description.licence_urls[0], "license")


def header(description: Description, holdings: Sequence[Holding], *, complete: bool) -> str:
    """The Link header of the landing page; with more files or authors than fit they are in the link set alone."""
    shown = holdings if complete and len(holdings) <= HEADER_ITEMS else ()
    found = list(links(description, shown))
    many = sum(link.relation == "author" for link in found) > HEADER_ITEMS
    return _header([*(link for link in found if not (many and link.relation == "author")), _linkset_of(description)])


def of_item(description: Description) -> str:
    """The Link header of content: the landing page it belongs to, its licence, the link set."""
    page = Link(description.url, "collection", "text/html")
    return _header([page, *_licence(description), _linkset_of(description)])


def of_metadata(description: Description) -> str:
    """The Link header of metadata: the landing page that it describes, and the link set."""
    return _header([Link(description.url, "describes", "text/html"), _linkset_of(description)])


LINKSET = "application/linkset+json"


def _linkset_of(description: Description) -> Link:
    return Link(f"{description.url}/linkset.json", "linkset", LINKSET)


def linkset(description: Description, holdings: Iterable[Holding]) -> dict[str, Any]:
    """The link set as JSON (RFC 9264 §4.2): of the landing page, and of everything that it leads to."""
    page: dict[str, Any] = {"anchor": description.url}
    others: list[dict[str, Any]] = []
    licence = {link.relation: [_target(link)] for link in _licence(description)}
    for link in links(description, holdings):
        page.setdefault(link.relation, []).append(_target(link))
        back = [{"href": description.url, "type": "text/html"}]
        if link.relation == "item":
            others.append({"anchor": link.target, "collection": back, **licence})
        elif link.relation == "describedby":
            others.append({"anchor": link.target, "describes": back})
    return {"linkset": [page, *others]}


def _header(found: Iterable[Link]) -> str:
    return ", ".join(_entry(link) for link in found)


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
