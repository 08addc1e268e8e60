"""The real InvenioRDM as an upstream: records harvested by its API, by OAI-PMH and by their landing pages."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from perdura.outcome import StepState
from perdura.settings import Settings
from perdura.sources import oai
from perdura.sources.catalogue import recognise
from perdura.sources.listing import by_oai, by_search
from perdura.sources.plan import Plan
from perdura.sources.profile import profiles
from perdura.sources.protocols import client_for, connected
from perdura.sources.search import search
from perdura.steps.harvest import run
from tests.peers.inveniordm.peer import Peer
from tests.unit.harvest.surroundings import Harvesting

pytestmark = [pytest.mark.peers, pytest.mark.timeout(1800)]

FILES = {"thesis.pdf": b"%PDF-1.4 no thesis at all", "data table.csv": b"a,b\n1,2\n", "Übung 1.txt": b"x" * 300_000}


@dataclass
class Repository:
    """The peer with records in it, and the settings under which it is a source by configuration alone."""

    url: str
    settings: Settings
    token: str
    http: httpx.Client

    def publish(self, title: str, files: dict[str, bytes], access: str = "public") -> str:
        """Publish a record; gives its id."""
        body = {
            "access": {"record": "public", "files": access},
            "files": {"enabled": bool(files)},
            "metadata": {
                "title": title,
                "resource_type": {"id": "dataset"},
                "publication_date": "2026-01-01",
                "publisher": "Archive",
                "creators": [{"person_or_org": {"type": "organizational", "name": "Archive"}}],
            },
        }
        draft = self._ok(self.http.post("/api/records", json=body))
        recid = str(draft["id"])
        if files:
            self._ok(self.http.post(f"/api/records/{recid}/draft/files", json=[{"key": name} for name in files]))
        for name, data in files.items():
            place = f"/api/records/{recid}/draft/files/{name}"
            kind = {"Content-Type": "application/octet-stream"}
            self._ok(self.http.put(f"{place}/content", content=data, headers=kind))
            self._ok(self.http.post(f"{place}/commit"))
        self._ok(self.http.post(f"/api/records/{recid}/draft/actions/publish"))
        return recid

    @staticmethod
    def _ok(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, answer.text
        return dict(answer.json())

    def plan(self, address: str, token: str | None = None) -> Plan:
        """The plan of a record, as a user pastes its address."""
        with connected(recognise(address, self.settings), self.settings, token=token) as upstream:
            return upstream.plan()


@pytest.fixture(scope="module")
def repository(inveniordm: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    configured = tmp_path_factory.mktemp("profiles") / "sources.toml"
    configured.write_text(_profiles(inveniordm.url))
    settings = Settings(allow_loopback_upstreams=True, harvest_profiles=str(configured))
    token = inveniordm.tokens["publisher"]
    with httpx.Client(base_url=inveniordm.url, timeout=60, headers={"Authorization": f"Bearer {token}"}) as http:
        yield Repository(inveniordm.url, settings, token, http)


def _profiles(url: str) -> str:
    common = f'base_url = "{url}"\nauth = "bearer"\nrequests_per_minute = 6000\nburst = 1000\noai_path = "/oai2d"\n'
    landing = "landing = ['/(?:api/)?records/(?P<recid>[a-z0-9-]{1,50})(?:/.*)?']\n"
    return (
        f'[[source]]\nid = "rdm"\nname = "A real InvenioRDM"\nprotocol = "inveniordm"\n{common}{landing}'
        f'[[source]]\nid = "rdm-oai"\nname = "The same by OAI-PMH"\nprotocol = "oai-pmh"\n{common}'
        "recid = '[A-Za-z0-9:._-]{1,200}'\n"
    )


@pytest.fixture(scope="module")
def recid(repository: Repository) -> str:
    return repository.publish("A harvested record", FILES)


def harvested(repository: Repository, given: dict[str, Any]) -> Harvesting:
    """Harvest to the end; every file is in the SIP as it was published."""
    world = Harvesting(settings=repository.settings)
    outcome = run(world.archive(given), world.ports())
    assert outcome.state in (StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS), outcome.message
    for name, data in FILES.items():
        assert world.read(f"sip/data/content/{name}") == data
        digest = hashlib.sha512(data).hexdigest()
        assert f"{digest}  data/content/{name}\n" in world.read("sip/manifest-sha512.txt").decode()
    return world


def test_a_record_is_harvested_by_the_api_and_every_declared_checksum_is_compared(
    repository: Repository, recid: str
) -> None:
    address = f"{repository.url}/records/{recid}"
    plan = repository.plan(address)
    assert {file.key: (file.size, file.checksums["md5"]) for file in plan.files} == {
        name: (len(data), hashlib.md5(data).hexdigest()) for name, data in FILES.items()
    }
    assert plan.parent is not None
    world = harvested(repository, {"url": address})
    receipts = [json.loads(world.read(key)) for key in world.listing("receipts/")]
    assert all("md5" in item["compared"] for receipt in receipts for item in receipt["fetched"])
    kept = json.loads(world.read("sip/data/meta/metadata.json"))
    assert kept["metadata"]["title"] == "A harvested record"


def test_the_same_record_under_the_same_revision_is_unchanged(repository: Repository, recid: str) -> None:
    given = {"url": f"{repository.url}/records/{recid}"}
    world = Harvesting(settings=repository.settings)
    first = run(world.archive(given), world.ports())
    again = Harvesting(settings=repository.settings)
    second = run(again.archive({**given, "known": (first.output or {})["fingerprint"]}), again.ports())
    assert (second.state, second.error_code) == (StepState.CANCELLED, "unchanged")


def test_a_record_is_harvested_by_oai_pmh_with_its_files(repository: Repository, recid: str) -> None:
    profile = profiles(repository.settings)["rdm-oai"]
    record = recognise(f"rdm-oai:oai:rdm.test:{recid}", repository.settings)
    with client_for(record, repository.settings) as client:
        found = _listed_by_oai(profile, repository, client, recid)
    assert found == f"oai:rdm.test:{recid}"
    harvested(repository, {"source": "rdm-oai", "recid": found})


def _listed_by_oai(profile: Any, repository: Repository, client: Any, recid: str) -> str | None:
    """The identifier in the list of what changed: the index follows the record after a moment."""
    until = datetime.now(UTC) + timedelta(minutes=1)
    for _ in range(20):
        pages = by_oai(profile, repository.url, client, since=until - timedelta(hours=1), until=until)
        for page in pages:
            for item in page.records:
                if item.recid.endswith(recid):
                    return item.recid
        time.sleep(1)
    return None


def test_all_pages_of_the_oai_list_are_walked_and_every_record_comes_once(repository: Repository, recid: str) -> None:
    published = {recid} | {repository.publish(f"One of many {number}", {}) for number in range(12)}
    profile = profiles(repository.settings)["rdm-oai"]
    record = recognise(f"rdm-oai:oai:rdm.test:{recid}", repository.settings)
    until = datetime.now(UTC) + timedelta(minutes=1)
    with client_for(record, repository.settings) as client:
        for _ in range(20):
            pages = list(by_oai(profile, repository.url, client, since=until - timedelta(hours=1), until=until))
            found = [item.recid.rpartition(":")[2] for page in pages for item in page.records]
            if published <= set(found):
                break
            time.sleep(1)
    assert len(pages) > 1
    assert published <= set(found)
    assert len(found) == len(set(found))


def test_oai_errors_that_come_as_http_422_are_understood(repository: Repository, recid: str) -> None:
    record = recognise(f"rdm-oai:oai:rdm.test:{recid}", repository.settings)
    endpoint = f"{repository.url}/oai2d"
    with client_for(record, repository.settings) as client:
        with pytest.raises(oai.OaiError) as unknown:
            oai.request(client, endpoint, {"verb": "GetRecord", "metadataPrefix": "none", "identifier": "oai:x:y"})
        future = datetime(2100, 1, 1, tzinfo=UTC)
        assert list(oai.walk(client, endpoint, since=future, until=future + timedelta(days=1))) == []
    assert unknown.value.code.startswith("oai-")


def test_its_search_is_searched_and_listed_through_us(repository: Repository, recid: str) -> None:
    profile = profiles(repository.settings)["rdm"]
    record = recognise(f"{repository.url}/records/{recid}", repository.settings)
    with client_for(record, repository.settings) as client:
        listed = [item for page in by_search(profile, repository.url, "", client) for item in page.records]
    hits = search("rdm", '"A harvested record"', repository.settings)
    assert recid in [hit.recid for hit in hits.hits]
    assert recid in [item.recid for item in listed]
    assert all(item.revision for item in listed)


def test_the_landing_page_is_kept_as_a_warc(repository: Repository, recid: str) -> None:
    world = harvested(repository, {"url": f"{repository.url}/records/{recid}", "warc": True})
    data = world.read("sip/data/meta/landing-page.warc")
    assert data.startswith(b"WARC/1.")
    assert re.search(rb"HTTP/1\.[01] 200", data)


def test_restricted_files_are_a_state_until_a_credential_opens_them(repository: Repository) -> None:
    closed = repository.publish("Closed files", FILES, access="restricted")
    address = f"{repository.url}/records/{closed}"
    world = Harvesting(settings=repository.settings)
    refused = run(world.archive({"url": address}), world.ports())
    assert (refused.state, refused.error_code) == (StepState.BLOCKED, "upstream-closed")
    opened = Harvesting(settings=repository.settings, extras={"credential": lambda _: repository.token})
    outcome = run(opened.archive({"url": address}), opened.ports())
    assert outcome.state is StepState.COMPLETED, outcome.message
    stored = b"".join(opened.read(key) for key in opened.listing())
    assert repository.token.encode() not in stored


def test_a_record_that_was_deleted_leaves_its_tombstone(repository: Repository, inveniordm: Peer) -> None:
    gone = repository.publish("To be deleted", {"a.txt": b"a"})
    admin = {"Authorization": f"Bearer {inveniordm.tokens['admin']}"}
    body = {"removal_reason": {"id": "test-record"}, "note": "gone", "is_visible": True}
    address = f"{repository.url}/api/records/{gone}/delete"
    answer = httpx.request("DELETE", address, json=body, headers=admin, timeout=60)
    assert answer.status_code in (200, 204), answer.text
    world = Harvesting(settings=repository.settings)
    outcome = run(world.archive({"url": f"{repository.url}/records/{gone}"}), world.ports())
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "upstream-deleted")
    assert json.loads(world.read("tombstone.json"))["tombstone"]["note"] == "gone"
    assert outcome.archive is not None
    assert (outcome.archive.metadata or {})["upstream_tombstone"]["reason"] == "test-record"
