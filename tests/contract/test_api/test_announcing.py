"""Announcing packages that lie in the store: thousands at once, each with a state of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import Client

from perdura.commands.everyday import oais_archives
from perdura.runtime import jobs as running
from tests.contract.test_api.world import World, bearer


def _post(client: Client, body: Any) -> Any:
    return client.post("/api/v1/announcements", json=body, headers=bearer())


def test_every_package_below_a_prefix_becomes_an_archive_once(world: World) -> None:
    world = replace(world, settings=world.settings.model_copy(update={"announce_buckets": "theirs"}))
    registry = world.registry()
    for number in range(120):
        world.store.put("theirs", f"batch/{number:03}.zip", b"x" * number)
    world.store.put("theirs", "batch/readme.txt", b"no package")
    job = _post(registry, {"bucket": "theirs", "prefix": "batch"}).get_json()
    assert job["total"] == 120
    assert len(running.tick(world)) == 120  # type: ignore[arg-type]
    items = registry.get(f"{job['links']['items']}?limit=200", headers=bearer()).get_json()["items"]
    assert {item["state"] for item in items} == {"done"}
    assert len({item["archive"] for item in items}) == 120
    again = _post(registry, {"bucket": "theirs", "packages": [{"key": "batch/007.zip"}]}).get_json()
    assert running.tick(world) == []  # type: ignore[arg-type]
    same = registry.get(again["links"]["items"], headers=bearer()).get_json()["items"]
    assert same[0]["archive"] == items[7]["archive"]


def test_what_is_not_there_fails_alone_and_says_so(world: World, registry: Client) -> None:
    world.store.put("perdura-incoming", "here.zip", b"x")
    packages = [{"key": "here.zip", "title": "Here"}, {"key": "gone.zip"}]
    job = _post(registry, {"bucket": "perdura-incoming", "packages": packages}).get_json()
    running.tick(world)  # type: ignore[arg-type]
    items = registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]
    assert [(item["subject"], item["state"], item["code"]) for item in items] == [
        ("here.zip", "done", None), ("gone.zip", "failed", "not-stored"),
    ]  # fmt: skip
    listed = registry.get("/api/v1/archives?origin=announcement", headers=bearer()).get_json()["items"]
    assert [item["title"] for item in listed] == ["Here"]


@pytest.mark.parametrize(
    "body",
    [
        {"bucket": "perdura-aips", "prefix": "x"},
        {"bucket": "elsewhere", "prefix": "x"},
        {"bucket": "perdura-incoming"},
        {"bucket": "perdura-incoming", "prefix": "../x"},
        {"bucket": "perdura-incoming", "packages": []},
        {"bucket": "perdura-incoming", "packages": [{"key": "/etc/passwd"}]},
        {"bucket": "perdura-incoming", "packages": [{"key": "a.zip", "sha256": "short"}]},
    ],
)
def test_what_may_not_be_announced_is_refused_with_its_field(registry: Client, body: dict[str, Any]) -> None:
    answer = _post(registry, body)
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"].startswith("body")


def test_archives_of_a_cern_oais_platform_are_taken_over_once(world: World) -> None:
    dump = {
        "archives": [
            {"id": 7, "source": "cds", "recid": "42", "title": "A thesis", "restricted": False, "state": 3,
             "path_to_sip": "/eos/sips/cds/sip::cds::42::1", "timestamp": "2024-05-01T00:00:00Z",
             "requester": {"id": 1}},
            {"id": 8, "source": "cds", "recid": "43", "title": None, "restricted": True,
             "path_to_sip": "/eos/sips/b.zip"},
            {"id": 9, "source": "cds", "recid": "44", "restricted": True, "path_to_sip": None},
        ],
        "steps": [{"id": 1, "archive": 7, "step_type": {"name": "HARVEST"}, "status": 4, "failure_type": None}],
        "collections": [{"title": "Theses", "archives": [{"id": 7}, 8]}],
    }  # fmt: skip
    world = replace(world, settings=world.settings.model_copy(update={"announce_buckets": "eos"}))
    registry = world.registry()
    world.store.put("eos", "cds/sip::cds::42::1/bagit.txt", b"BagIt-Version: 0.97\n")
    world.store.put("eos", "b.zip", b"PK")
    body = {"origin": "https://oais.test", "bucket": "eos", "base": "/eos/sips/", "archives": oais_archives(dump)}
    job = registry.post("/api/v1/imports/oais", json=body, headers=bearer()).get_json()
    assert len(running.tick(world)) == 2  # type: ignore[arg-type]
    items = registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]
    assert [item["state"] for item in items] == ["done", "done", "failed"]
    one = registry.get(f"/api/v1/archives/{items[0]['archive']}", headers=bearer()).get_json()
    assert (one["title"], one["source"], one["recid"], one["restricted"]) == ("A thesis", "cds", "42", False)
    assert one["packages"][0]["container"] == "prefix"
    assert one["metadata"]["oais_platform"]["steps"][0]["name"] == "HARVEST"
    collections = registry.get("/api/v1/collections", headers=bearer()).get_json()["items"]
    assert [(item["name"], item["archives"]) for item in collections] == [("Theses", 2)]
    registry.post("/api/v1/imports/oais", json=body, headers=bearer())
    assert running.tick(world) == []  # type: ignore[arg-type]
