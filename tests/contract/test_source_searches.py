"""Searching every source that has a search, from answers in its own shape."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from perdura.clients.http import UpstreamRefused
from perdura.errors import Rejected, UpstreamUnavailable
from perdura.settings import Settings
from perdura.sources import listing
from perdura.sources.catalogue import Recognised
from perdura.sources.profile import profiles
from perdura.sources.protocols import client_for
from perdura.sources.search import SEARCHERS, Hits, search
from tests.upstreams.recorded import Recorded, client
from tests.upstreams.repository import Repository
from tests.upstreams.server import Upstream

SETTINGS = Settings()
INVENIO = {
    "hits": {
        "total": 41,
        "hits": [
            {
                "id": "18hms-pp478",
                "revision_id": 4,
                "updated": "2026-11-21T21:24:00+00:00",
                "metadata": {"title": "Formats", "creators": [{"person_or_org": {"name": "Exemplar, Ada"}}]},
                "links": {"self_html": "https://repository.cern/records/18hms-pp478"},
                "access": {"status": "open"},
                "files": {"total_bytes": 25602},
            }
        ],
    }
}
ZENODO = {
    "hits": {
        "total": 1,
        "hits": [{"id": 8173303, "metadata": {"title": "Summit", "creators": [{"name": "E"}], "access_right": "open"}}],
    }
}
MARC = (
    "<!-- Search-Engine-Total-Number-Of-Results: 7 --><collection><record>"
    '<controlfield tag="001">2728246</controlfield><controlfield tag="005">20150925091440.0</controlfield>'
    '<datafield tag="245" ind1=" " ind2=" "><subfield code="a">A thesis</subfield></datafield>'
    '<datafield tag="856" ind1="4" ind2=" "><subfield code="s">22</subfield></datafield></record></collection>'
)
INDICO = {"total": 3, "results": [{"event_id": 1024767, "title": "Meeting"}]}
GITLAB = [{"id": 105, "name_with_namespace": "g / proj", "web_url": "https://gitlab.cern.ch/g/proj"}]
CODIMD = {"history": [{"id": "abc", "text": "My thesis note"}, {"id": "def", "text": "Other"}]}

RDM = "/api/records?q=thesis&size=20&page=1"
RDM_HIT = (41, "18hms-pp478", "Formats")
MARC_HIT = (7, "2728246", "A thesis")
INDICO_HIT = (3, "1024767", "Meeting")

CASES: list[tuple[str, str, Any, dict[str, str], tuple[int, str, str]]] = [
    ("cds-rdm", "https://repository.cern" + RDM, INVENIO, {}, RDM_HIT),
    ("inveniordm", "https://inveniordm.web.cern.ch" + RDM, INVENIO, {}, RDM_HIT),
    ("zenodo", "https://zenodo.org" + RDM, ZENODO, {}, (1, "8173303", "Summit")),
    ("cds-videos", "https://videos.cern.ch" + RDM, INVENIO, {}, RDM_HIT),
    ("cod", "https://opendata.cern.ch" + RDM, INVENIO, {}, RDM_HIT),
    ("cds", "https://cds.cern.ch/search?p=thesis&of=xm&rg=20&jrec=1", MARC, {}, MARC_HIT),
    ("ilcdoc", "http://ilcdoc.linearcollider.org/search?p=thesis&of=xm&rg=20&jrec=1", MARC, {}, MARC_HIT),
    ("indico", "https://indico.cern.ch/search/api/search?q=thesis&type=event&page=1", INDICO, {}, INDICO_HIT),
    (
        "ilcagenda",
        "https://agenda.linearcollider.org/search/api/search?q=thesis&type=event&page=1",
        INDICO,
        {},
        INDICO_HIT,
    ),
    (
        "gitlab",
        "https://gitlab.cern.ch/api/v4/projects?search=thesis&per_page=20&page=1",
        GITLAB,
        {"X-Total": "9"},
        (9, "105", "g / proj"),
    ),
    ("codimd", "https://codimd.web.cern.ch/history", CODIMD, {}, (1, "abc", "My thesis note")),
]


def found(source: str, recording: Recorded) -> Hits:
    profile = profiles(SETTINGS)[source]
    record = Recognised(profile, "", profile.base_url, profile.base_url)
    with client(record, recording, SETTINGS) as http:
        return SEARCHERS[profile.protocol](profile, "thesis", 1, 20, None, http)


@pytest.mark.parametrize(("source", "url", "body", "headers", "expected"), CASES, ids=[case[0] for case in CASES])
def test_hits_of(source: str, url: str, body: Any, headers: dict[str, str], expected: tuple[int, str, str]) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    hits = found(source, Recorded([{"url": url, "status": 200, "headers": headers, "body": text}]))
    (hit,) = hits.hits
    assert (hits.total, hit.recid, hit.title) == expected
    assert hit.source == source
    assert hit.url.startswith("http")


def test_every_protocol_with_a_search_is_tried_here() -> None:
    assert {profiles(SETTINGS)[case[0]].protocol for case in CASES} == set(SEARCHERS)


@pytest.mark.parametrize(
    ("status", "error"), [(400, Rejected), (403, UpstreamRefused), (404, UpstreamRefused), (429, UpstreamUnavailable)]
)
def test_what_a_search_may_answer_instead(status: int, error: type[Exception]) -> None:
    url = "https://zenodo.org/api/records?q=thesis&size=20&page=1"
    with pytest.raises(error):
        found("zenodo", Recorded([{"url": url, "status": status, "headers": {}, "body": "<html>"}]))


def test_a_page_beyond_the_window_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(Rejected) as caught:
        search("zenodo", "x", SETTINGS, page=101, page_size=100)
    assert caught.value.code == "search-window"


@pytest.mark.parametrize("largest", [25, 100, 200])
def test_pages_are_as_large_as_the_repository_allows(upstream: Upstream, largest: int) -> None:
    repository = Repository(upstream.base, largest_page=largest)
    repository.fill(230, datetime(2026, 1, 1, tzinfo=UTC))
    upstream.fallback = repository.answer
    settings = Settings(allow_loopback_upstreams=True)
    profile = profiles(settings)["demo"]
    query = "updated:[* TO 2027-01-01T00:00:00}"
    with client_for(Recognised(profile, "", upstream.base, upstream.base), settings) as http:
        pages = list(listing.by_search(profile, upstream.base, query, http))
    assert [record.recid for page in pages for record in page.records] == [f"r{n:05d}" for n in range(230)]
    assert len(pages) == -(-230 // largest)
