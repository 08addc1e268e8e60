"""Which records of an upstream changed in a window: by its search or by OAI-PMH, page by page (harvesting.md 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from perdura.clients.http import HttpClient
from perdura.errors import Rejected
from perdura.settings import Settings
from perdura.sources import oai
from perdura.sources.catalogue import loopback_allowed
from perdura.sources.profile import Profile, profiles
from perdura.sources.search import WINDOW, accepted, invenio_hits

BY_SEARCH = frozenset({"inveniordm", "opendata"})
"""Protocols whose search can be narrowed to a window of time."""

PAGES = (200, 100, 25)
"""Hits of one page of a listing: what a repository allows depends on who asks (Zenodo shows strangers 25)."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One record in a listing. `revision` changes with the record; `deleted` where the upstream says so.

    `at` is the time by which the listing is ordered, where the upstream shows it.
    """

    recid: str
    revision: str
    title: str | None = None
    deleted: bool = False
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page: its records, the raw answer, and how many there are in all where the upstream says so."""

    records: tuple[Listed, ...]
    raw: bytes
    total: int | None


@dataclass(frozen=True, slots=True)
class Extent:
    """How large the answer to a search is: its hits, the time of the first, and an id from its midst."""

    total: int
    oldest: datetime | None
    middle_id: str | None


def extent(profile: Profile, base_url: str, query: str, client: HttpClient, *, on: str = "updated") -> Extent:
    """Ask how many hits a search has; where they are more than it shows, what it can be cut by."""
    first = _search(profile, base_url, query, 1, 1, client, on)
    total = first.total or 0
    if total <= WINDOW:
        return Extent(total, None, None)
    _, middle = _allowed(profile, base_url, query, WINDOW // 2, client, on)
    recids = sorted(record.recid for record in middle.records)
    oldest = first.records[0].at if first.records else None
    return Extent(total, oldest, recids[len(recids) // 2] if recids else None)


def by_search(
    profile: Profile, base_url: str, query: str, client: HttpClient, *, on: str = "updated"
) -> Iterator[ListedPage]:
    """All pages of a search of at most 10,000 hits, oldest first; a record that moves meanwhile comes twice."""
    size, page = _allowed(profile, base_url, query, 0, client, on)
    seen, number = 0, 1
    while True:
        yield page
        seen, number = seen + len(page.records), number + 1
        if not page.records or seen >= (page.total or 0) or number * size > WINDOW:
            return
        page = _search(profile, base_url, query, number, size, client, on)


def _allowed(
    profile: Profile, base_url: str, query: str, after: int, client: HttpClient, on: str
) -> tuple[int, ListedPage]:
    """The page behind so many hits, and the size of pages that the repository allows: 400 means too large a one, or,
    with the smallest too, a query it does not understand."""
    for size in PAGES:
        try:
            return size, _search(profile, base_url, query, after // size + 1, size, client, on)
        except Rejected as error:
            if error.code != "search-query" or size == PAGES[-1]:
                raise
    raise AssertionError("unreachable")


def by_oai(
    profile: Profile,
    base_url: str,
    client: HttpClient,
    *,
    since: datetime | None,
    until: datetime,
    set_name: str | None = None,
    prefix: str = "oai_dc",
) -> Iterator[ListedPage]:
    """All pages of `ListIdentifiers`; identifiers of this source lose the part that every one has."""
    endpoint = base_url + (profile.oai_path or "")
    for page in oai.walk(client, endpoint, prefix=prefix, since=since, until=until, set_name=set_name):
        records = tuple(
            Listed(
                _own_id(header.identifier, profile),
                header.datestamp,
                deleted=header.deleted,
                at=_time(header.datestamp),
            )
            for header in page.headers
        )
        yield ListedPage(records, page.answer.body, page.complete_size)


def _own_id(identifier: str, profile: Profile) -> str:
    """The record id in an OAI identifier (`oai:<namespace>:<id>`), for sources whose records are asked for by it."""
    if profile.oai_prefix:
        return identifier.removeprefix(profile.oai_prefix)
    if profile.protocol == "oai-pmh" or not identifier.startswith("oai:"):
        return identifier
    return identifier.split(":", 2)[-1]


def _search(
    profile: Profile, base_url: str, query: str, page: int, page_size: int, client: HttpClient, on: str
) -> ListedPage:
    sort = "updated-asc" if on == "updated" else "oldest"
    arguments = {"q": query, "size": page_size, "page": page, "sort": sort}
    answer = accepted(
        client.get(f"{base_url}{profile.invenio.search}?{urlencode(arguments)}", headers={"Accept": "application/json"})
    )
    hits = invenio_hits(answer.json(), profile, page)
    records = tuple(
        Listed(
            hit.recid, hit.revision or hit.updated or "", hit.title, at=_time(hit.updated if on == "updated" else None)
        )
        for hit in hits.hits
    )
    return ListedPage(records, answer.body, hits.total)


def _time(value: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if value else None
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found and found.tzinfo is None else found


def ways(profile: Profile) -> list[str]:
    """How a source can be asked what changed: `search`, `oai-pmh`."""
    found = ["search"] if profile.protocol in BY_SEARCH else []
    return found + (["oai-pmh"] if profile.oai_path is not None else [])


def check_source(source: str, way: str, settings: Settings, *, base_url: str | None) -> Profile:
    """The profile of a source, if it can be asked in this way what changed; raises Rejected (`unknown-source`, …)."""
    profile = profiles(settings).get(source)
    if profile is None:
        raise Rejected(f"There is no source “{source}”.", code="unknown-source")
    if way not in ways(profile):
        raise Rejected(f"{profile.name} cannot be asked in this way ({way}) what changed.", code="not-listed-so")
    if profile.base_url:
        if base_url is not None and base_url.rstrip("/") != profile.base_url:
            raise Rejected(f"{profile.name} has an address of its own.", code="unknown-source")
    elif base_url is None or not loopback_allowed(base_url, settings):
        raise Rejected(f"{profile.name} needs the address of an instance that may be asked.", code="unknown-source")
    return profile
