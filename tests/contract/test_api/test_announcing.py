"""Announcing packages that lie in the store: thousands at once, each with a state of its own."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from lxml import html
from sqlalchemy import insert, text
from werkzeug.test import Client, TestResponse

from perdura.commands.oais import oais_archives
from perdura.ids import new_id
from perdura.registry.tables import Package
from perdura.runtime import jobs as running
from perdura.web.announcing import read_keys
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in


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


def test_who_announced_a_package_may_restrict_its_archive(world: World) -> None:
    registry = world.registry()
    world.store.put("perdura-incoming", "here.zip", b"x")
    announcer, another = world.bearer("depositor"), world.bearer("depositor")
    body = {"bucket": "perdura-incoming", "packages": [{"key": "here.zip"}]}
    jobs = []
    for header in (announcer, another):
        jobs.append(registry.post("/api/v1/announcements", json=body, headers=header).get_json())
        running.tick(world)  # type: ignore[arg-type]
    (item,) = registry.get(jobs[0]["links"]["items"], headers=announcer).get_json()["items"]
    address = f"/api/v1/archives/{item['archive']}/restriction"
    wanted = {"restricted": True, "reason": "Names of children"}
    assert registry.put(address, json=wanted, headers=another).status_code == 403
    assert registry.put(address, json=wanted, headers=announcer).status_code == 200
    assert registry.put(address, json={**wanted, "restricted": False}, headers=announcer).status_code == 403


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


def test_a_digest_is_held_against_what_was_begun_before_it_was_told(world: World, registry: Client) -> None:
    world.store.put("perdura-incoming", "here.zip", b"x")
    right, wrong = sha256(b"x").hexdigest(), "0" * 64

    def announced(**more: str) -> dict[str, Any]:
        packages = [{"key": "here.zip", **more}]
        job = _post(registry, {"bucket": "perdura-incoming", "packages": packages}).get_json()
        running.tick(world)  # type: ignore[arg-type]
        (item,) = registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]
        return dict(item)

    archive = announced()["archive"]
    assert announced(sha256=right)["state"] == "done"
    with world.engine.begin() as connection:
        expected = connection.execute(text("SELECT input ->> 'expected_sha256' FROM step")).scalar()
        connection.execute(text("UPDATE step SET state = 'running'"))
    assert expected == right
    assert announced(sha256=right)["state"] == "queued"
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'failed'"))
    assert announced(sha256=right)["code"] == "digest-not-compared"
    with world.engine.begin() as connection:
        row = {"id": new_id(), "archive_id": archive, "kind": "SIP", "bucket": "b", "key": "k", "container": "zip"}
        connection.execute(insert(Package).values(**row, size=1, checksums={"sha256": right}, accepted=True))
    assert announced(sha256=wrong)["code"] == "digest-mismatch"
    assert announced(sha256=right)["archive"] == archive


@pytest.mark.parametrize(
    "body",
    [
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


@pytest.mark.parametrize(
    "body",
    [
        {"bucket": "perdura-aips", "prefix": "x"},
        {"bucket": "elsewhere", "prefix": "x"},
        {"bucket": "perdura-incoming", "packages": [{"key": f"deposits/{new_id()}/a.zip"}]},
    ],
)
def test_announcing_what_is_not_open_is_denied_and_in_the_audit_log(
    world: World, registry: Client, body: dict[str, Any]
) -> None:
    answer = _post(registry, body)
    assert answer.status_code == 403
    assert answer.get_json()["errors"][0]["field"].startswith("body")
    assert (world.audited()[-1].action, world.audited()[-1].outcome) == ("announce_packages", "denied")


def _form(client: Client, **fields: str) -> TestResponse:
    token = csrf_of(client.get("/add", base_url=BASE))
    return client.post("/add/announce", base_url=BASE, data={"csrf": token, "bucket": "perdura-incoming", **fields})


def test_a_plain_form_announces_and_leads_to_the_state_of_each_package(world: World, registry: Client) -> None:
    sign_in(registry)
    world.store.put("perdura-incoming", "here.zip", b"x")
    theses = str(world.collection())
    listed = f"{'a' * 64}  here.zip\r\n\r\ngone.zip\r\n"
    answer = _form(registry, packages=listed, collection=theses)
    assert answer.status_code == 303
    running.tick(world)  # type: ignore[arg-type]
    page = registry.get(answer.headers["Location"], base_url=BASE).text
    assert "1 done, 1 failed" in page
    assert "not-stored" in page
    everything = registry.get(f"{answer.headers['Location']}?state=done", base_url=BASE).text
    archive = re.search(r'href="/archives/([0-9a-f-]{36})">here.zip', everything)
    assert archive is not None
    members = registry.get(f"/api/v1/archives?collection={theses}", headers=bearer()).get_json()["items"]
    assert [member["id"] for member in members] == [archive[1]]
    world.store.put("perdura-incoming", "batch/one.tar", b"x")
    assert _form(registry, prefix="batch").status_code == 303


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({}, 422, "prefix"),
        ({"prefix": "x", "packages": "a.zip"}, 422, "prefix"),
        ({"packages": "../a.zip"}, 422, "form.packages.0.key"),
        ({"packages": "a.zip", "bucket": "perdura-aips"}, 403, "Nothing can be announced from this bucket"),
        ({"prefix": "empty"}, 409, "nothing to do"),
        ({"packages": "a.zip", "collection": "01900000-0000-7000-8000-00000000dead"}, 404, "no such collection"),
    ],
)
def test_what_may_not_be_announced_comes_back_in_its_form(
    world: World, registry: Client, fields: dict[str, str], status: int, told: str
) -> None:
    sign_in(registry)
    answer = _form(registry, **fields)
    assert answer.status_code == status
    assert told in answer.text
    assert html.fromstring(answer.text).xpath("string(//textarea)").strip() == fields.get("packages", "")
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM job")).scalar() == 0


def test_the_form_is_for_depositors_and_from_our_own_page_only(world: World, registry: Client) -> None:
    sign_in(registry)
    sent = {"csrf": "wrong", "bucket": "perdura-incoming", "packages": "a.zip"}
    assert registry.post("/add/announce", base_url=BASE, data=sent).status_code == 403
    viewer = registry.post("/add/announce", base_url=BASE, data=sent, headers=world.bearer("viewer"))
    assert viewer.status_code == 403
    assert world.registry().post("/add/announce", base_url=BASE, data=sent).status_code == 303


def test_whoever_announces_sees_the_archives_made_of_it_and_no_others(world: World) -> None:
    registry, theirs, mine = world.registry(), world.account("depositor"), world.account("depositor")
    for name in ("theirs.zip", "mine.zip"):
        world.store.put("perdura-incoming", name, name.encode())

    def announce(account: UUID, **more: Any) -> list[str | None]:
        header = bearer(world.token(account))
        body = {"bucket": "perdura-incoming", **more}
        job = registry.post("/api/v1/announcements", json=body, headers=header).get_json()
        running.tick(world)  # type: ignore[arg-type]
        items = registry.get(job["links"]["items"], headers=header).get_json()["items"]
        return [item["archive"] for item in items]

    def status(account: UUID, archive: str | None) -> int:
        return registry.get(f"/api/v1/archives/{archive}", headers=bearer(world.token(account))).status_code

    (first,) = announce(theirs, packages=[{"key": "theirs.zip"}])
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true"))
    collection = world.collection()
    world.grant(account_id=mine, collection_id=collection)
    packages = [{"key": "theirs.zip"}, {"key": "mine.zip"}]
    nothing, second = announce(mine, packages=packages, collection=str(collection))
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true"))
        connection.execute(text("DELETE FROM collection_member WHERE archive_id = :id"), {"id": second})
    assert nothing is None
    assert [status(theirs, first), status(theirs, second)] == [200, 404]
    assert [status(mine, first), status(mine, second)] == [404, 200]


def test_lists_of_keys_are_read_as_sha256sum_writes_them() -> None:
    digest = "0" * 64
    assert read_keys(f"a b.zip\n{digest} *c.zip\n{digest}  d e.tar\n") == [
        {"key": "a b.zip"}, {"key": "c.zip", "sha256": digest}, {"key": "d e.tar", "sha256": digest},
    ]  # fmt: skip


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
        "collections": [{"title": " Theses ", "archives": [{"id": 7}, 8]}],
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


AIP = "e342835e-b3ba-4d07-a70d-4bb727ad1a91"


def _imported(world: World, registry: Client, archives: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    body = {"origin": "https://oais.test", "bucket": "eos", "base": "/eos/", "archives": archives, **more}
    job = registry.post("/api/v1/imports/oais", json=body, headers=bearer())
    assert job.status_code == 202, job.text
    running.tick(world)  # type: ignore[arg-type]
    items: list[dict[str, Any]] = registry.get(job.get_json()["links"]["items"], headers=bearer()).get_json()["items"]
    return items


def test_the_aip_of_an_archive_there_is_noted_for_its_preservation_and_is_no_second_ones(world: World) -> None:
    settings = world.settings.model_copy(update={"announce_buckets": "eos aips"})
    world = replace(world, settings=settings)
    registry = world.registry()
    world.store.put("eos", "a.zip", b"PK")
    made = {"artifact": {"artifact_name": "AIP", "artifact_localpath": f"/store/e342/a-{AIP}.7z"}}
    archive = {"source": "cds", "title": "", "restricted": False, "path_to_sip": "/eos/a.zip"}
    dump = {
        "archives": [{**archive, "id": number, "recid": str(number)} for number in (1, 2, 3)],
        "steps": [
            {
                "id": 5 + number,
                "archive": number,
                "step_type": {"name": "ARCHIVE"},
                "status": 4,
                "output_data": json.dumps(made),
            }
            for number in (1, 2)
        ],
    }
    items = _imported(world, registry, oais_archives(dump), aip_bucket="aips", aip_base="/store/")
    assert [(item["state"], item["code"]) for item in items] == [
        ("done", None),
        ("failed", "aip-taken"),
        ("done", None),
    ]
    with world.engine.connect() as connection:
        wishes = connection.execute(text("SELECT archive_id, wish FROM preservation_wish")).all()
    first = items[0]["archive"]
    place = {"bucket": "aips", "key": f"e342/a-{AIP}.7z", "id": AIP}
    assert [(str(row.archive_id), row.wish) for row in wishes] == [(first, {"take_over": place})]
    chosen = registry.put(f"/api/v1/archives/{first}/preservation", json={"engine": "builtin"}, headers=bearer())
    assert chosen.get_json()["engine"] == "builtin"
    assert "take_over" not in chosen.get_json()


def test_aips_are_not_taken_from_any_bucket_and_not_at_all_where_that_is_not_wanted(world: World) -> None:
    world = replace(world, settings=world.settings.model_copy(update={"announce_buckets": "eos"}))
    registry = world.registry()
    world.store.put("eos", "a.zip", b"PK")
    one = {"id": 1, "source": "cds", "recid": "1", "path_to_sip": "a.zip", "path_to_aip": f"a-{AIP}.7z"}
    body = {"origin": "https://oais.test", "bucket": "eos", "aip_bucket": "perdura-aips", "archives": [one]}
    refused = registry.post("/api/v1/imports/oais", json=body, headers=bearer())
    assert (refused.status_code, refused.get_json()["errors"][0]["field"]) == (403, "body.aip_bucket")
    assert [item["state"] for item in _imported(world, registry, [one], aips=False)] == ["done"]
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM preservation_wish")).scalar() == 0
