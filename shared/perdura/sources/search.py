"""Searching an upstream through us (`GET /api/v1/sources/{id}/search`), page by page (cern-oais-platform.md 5.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from perdura.clients.http import Answer, Budget, HttpClient, UpstreamRefused, status_error
from perdura.errors import Rejected
from perdura.settings import Settings
from perdura.sources import inveniordm, marcxml
from perdura.sources.catalogue import Recognised, UnknownSource
from perdura.sources.json_values import at, items, mapping, size, text
from perdura.sources.markup import MARC, parse_xml
from perdura.sources.profile import Profile, profiles
from perdura.sources.protocols import client_for

WINDOW = 10_000
"""Hits that an Invenio search lets one see (harvesting.md 2.1)."""

PAGE = 100
"""Most hits of one page."""

_TOTAL = re.compile(rb"Search-Engine-Total-Number-Of-Results:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Hit:
    """One record that was found; `bytes` and `files` where the upstream says them."""

    source: str
    recid: str
    title: str
    url: str
    creators: tuple[str, ...] = ()
    updated: str | None = None
    revision: str | None = None
    status: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """One page of hits, and how many there are in all."""

    total: int
    page: int
    hits: tuple[Hit, ...]


Searcher = Callable[[Profile, str, int, int, str | None, HttpClient], Hits]


def searchable(settings: Settings) -> list[Profile]:
    """Sources that have a search."""
    return [profile for profile in profiles(settings).values() if profile.base_url and profile.protocol in SEARCHERS]


def search(
    source: str,
    query: str,
    settings: Settings,
    *,
    page: int = 1,
    page_size: int = 20,
    sort: str | None = None,
    token: str | None = None,
    budget: Budget | None = None,
) -> Hits:
    """Search one source. Raises UnknownSource, Rejected (`search-window`), UpstreamRefused, UpstreamUnavailable."""
    profile = profiles(settings).get(source)
    if profile is None or profile.protocol not in SEARCHERS or not profile.base_url:
        raise UnknownSource(f"“{source[:50]}” is not a source with a search.")
    page_size = max(1, min(page_size, PAGE))
    if page < 1 or page * page_size > WINDOW:
        raise Rejected(f"Searches show the first {WINDOW} hits; narrow the query.", code="search-window")
    record = Recognised(profile, "", profile.base_url, profile.base_url)
    with client_for(record, settings, token=token, budget=budget) as client:
        return SEARCHERS[profile.protocol](profile, query, page, page_size, sort, client)


def invenio_hits(value: Any, profile: Profile, page: int) -> Hits:
    """A page of an Invenio search as hits."""
    found = mapping(mapping(value).get("hits"))
    total = found.get("total")
    total = mapping(total).get("value", total)
    if not isinstance(total, int):
        raise UpstreamRefused("The search's answer is not a list of hits.", code="upstream-not-a-record")
    return Hits(total, page, tuple(_hit(mapping(item), profile) for item in items(found.get("hits"))))


def _hit(value: Mapping[str, Any], profile: Profile) -> Hit:
    recid = str(value.get("id", ""))
    described = inveniordm.description(value)
    return Hit(
        source=profile.id,
        recid=recid,
        title=text(value, "metadata.title") or recid,
        url=text(value, "links.self_html") or text(value, "links.html") or f"{profile.base_url}/records/{recid}",
        creators=tuple(described.get("creators", ())),
        updated=text(value, "updated") or text(value, "modified"),
        revision=inveniordm.revision(value),
        status=text(value, "access.status") or text(value, "metadata.access_right"),
        bytes=size(at(value, "files.total_bytes")),
    )


def _invenio(profile: Profile, query: str, page: int, page_size: int, sort: str | None, client: HttpClient) -> Hits:
    arguments = {"q": query, "size": page_size, "page": page, **({"sort": sort} if sort else {})}
    answer = client.get(
        f"{profile.base_url}{profile.invenio.search}?{urlencode(arguments)}", headers={"Accept": "application/json"}
    )
    return invenio_hits(accepted(answer).json(), profile, page)


def _marcxml(profile: Profile, query: str, page: int, page_size: int, sort: str | None, client: HttpClient) -> Hits:
    first = page_size * (page - 1) + 1
    arguments = {"p": query, "of": "xm", "rg": page_size, "jrec": first, **({"sf": sort} if sort else {})}
    answer = accepted(client.get(f"{profile.base_url}/search?{urlencode(arguments)}"))
    total = _TOTAL.search(answer.body)
    root = parse_xml(answer.body, profile.name, recover=True)
    hits = []
    for record in root.iter(MARC + "record", "record"):
        recid = marcxml.controlfield(record, "001") or ""
        described = marcxml.description(record)
        hits.append(
            Hit(
                source=profile.id,
                recid=recid,
                title=marcxml.title_of(record) or recid,
                url=f"{profile.base_url}/record/{recid}",
                creators=tuple(described.get("creators", ())),
                revision=marcxml.controlfield(record, "005"),
                bytes=sum(size(f.get("s")) or 0 for f in marcxml.fields(record) if f.tag == "856") or None,
            )
        )
    return Hits(int(total[1]) if total else len(hits), page, tuple(hits))


def _indico(profile: Profile, query: str, page: int, page_size: int, sort: str | None, client: HttpClient) -> Hits:
    del page_size, sort  # Indico has pages of ten, in an order of its own.
    arguments = [("q", query), ("type", "event"), ("page", str(page))]
    value = mapping(accepted(client.get(f"{profile.base_url}/search/api/search?{urlencode(arguments)}")).json())
    hits = tuple(
        Hit(
            source=profile.id,
            recid=str(mapping(item).get("event_id", "")),
            title=text(item, "title") or "",
            url=f"{profile.base_url}/event/{mapping(item).get('event_id', '')}/",
        )
        for item in items(value.get("results"))
    )
    return Hits(size(value.get("total")) or len(hits), page, hits)


def _gitlab(profile: Profile, query: str, page: int, page_size: int, sort: str | None, client: HttpClient) -> Hits:
    arguments = {"search": query, "per_page": page_size, "page": page, **({"order_by": sort} if sort else {})}
    answer = accepted(client.get(f"{profile.base_url}/api/v4/projects?{urlencode(arguments)}"))
    hits = tuple(
        Hit(
            source=profile.id,
            recid=str(mapping(item).get("id", "")),
            title=text(item, "name_with_namespace") or text(item, "name") or "",
            url=text(item, "web_url") or profile.base_url,
            updated=text(item, "last_activity_at"),
            revision=text(item, "last_activity_at"),
            status=text(item, "visibility"),
        )
        for item in items(answer.json())
    )
    total = answer.header("x-total")
    return Hits(int(total) if total and total.isdecimal() else len(hits), page, hits)


def _codimd(profile: Profile, query: str, page: int, page_size: int, sort: str | None, client: HttpClient) -> Hits:
    """CodiMD shows the notes a person has seen, and searches none of them: that is done here."""
    del sort
    value = mapping(accepted(client.get(f"{profile.base_url}/history")).json())
    wanted = query.casefold()
    found = [mapping(item) for item in items(value.get("history"))]
    found = [item for item in found if wanted in str(item.get("text", "")).casefold()]
    hits = tuple(
        Hit(profile.id, str(item.get("id", "")), str(item.get("text", "")), f"{profile.base_url}/{item.get('id', '')}")
        for item in found[page_size * (page - 1) : page_size * page]
    )
    return Hits(len(found), page, hits)


def accepted(answer: Answer) -> Answer:
    """The answer of a search; raises Rejected (`search-query`), UpstreamRefused, UpstreamUnavailable."""
    if answer.status == 400:
        raise Rejected("The repository does not understand this query.", code="search-query")
    if answer.status != 200:
        raise status_error(answer.status, answer.headers, answer.url)
    return answer


SEARCHERS: Mapping[str, Searcher] = MappingProxyType(
    {
        "inveniordm": _invenio,
        "opendata": _invenio,
        "marcxml": _marcxml,
        "indico": _indico,
        "gitlab": _gitlab,
        "codimd": _codimd,
    }
)
"""Protocols that can be searched."""
