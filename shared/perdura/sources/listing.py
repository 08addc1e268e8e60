"""Which records of an upstream changed in a window: by its search or by OAI-PMH, page by page (harvesting.md 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from perdura.clients.http import HttpClient
from perdura.sources import oai
from perdura.sources.profile import Profile
from perdura.sources.search import WINDOW, Hit, invenio_hits

PAGE = 200
"""Hits of one page of a listing."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One record in a listing. `revision` changes with the record; `deleted` where the upstream says so."""

    recid: str
    revision: str
    title: str | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class ListedPage:
    """One page: its records, the raw answer, and how many there are in all where the upstream says so."""

    records: tuple[Listed, ...]
    raw: bytes
    total: int | None


def count(profile: Profile, query: str, client: HttpClient) -> int:
    """How many hits a search has."""
    return _search(profile, query, 1, 1, client)[0].total or 0


def by_search(profile: Profile, query: str, client: HttpClient, *, on: str = "updated") -> Iterator[ListedPage]:
    """All pages of a search of at most 10,000 hits, oldest change first; a record that moves meanwhile comes twice."""
    seen = 0
    for page in range(1, WINDOW // PAGE + 1):
        listed, hits = _search(profile, query, page, PAGE, client, "updated-asc" if on == "updated" else "oldest")
        yield listed
        seen += len(hits)
        if not hits or seen >= (listed.total or 0):
            return


def by_oai(
    profile: Profile,
    client: HttpClient,
    *,
    since: datetime | None,
    until: datetime,
    set_name: str | None = None,
    prefix: str = "oai_dc",
) -> Iterator[ListedPage]:
    """All pages of `ListIdentifiers`; identifiers of this source lose the part that every one has."""
    endpoint = profile.base_url + (profile.oai_path or "")
    for page in oai.walk(client, endpoint, prefix=prefix, since=since, until=until, set_name=set_name):
        records = tuple(
            Listed(header.identifier.removeprefix(profile.oai_prefix or ""), header.datestamp, deleted=header.deleted)
            for header in page.headers
        )
        yield ListedPage(records, page.answer.body, page.complete_size)


def _search(
    profile: Profile, query: str, page: int, page_size: int, client: HttpClient, sort: str = "updated-asc"
) -> tuple[ListedPage, tuple[Hit, ...]]:
    arguments = {"q": query, "size": page_size, "page": page, "sort": sort}
    answer = client.get(
        f"{profile.base_url}{profile.invenio.search}?{urlencode(arguments)}", headers={"Accept": "application/json"}
    )
    hits = invenio_hits(answer.json(), profile, page)
    records = tuple(Listed(hit.recid, hit.revision or hit.updated or "", hit.title) for hit in hits.hits)
    return ListedPage(records, answer.body, hits.total), hits.hits
