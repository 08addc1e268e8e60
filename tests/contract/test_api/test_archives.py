"""Reading Archives by the API."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree
from sqlalchemy import text
from werkzeug.test import Client

from perdura.api import cursors
from perdura.api.queries import archives
from perdura.ids import new_id
from tests.contract.test_api.world import FILES, World, bearer


def test_a_listing_is_paged_without_gaps_or_repeats(world: World, registry: Client) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    made = [str(world.archive(created_at=moment + timedelta(seconds=number // 2))) for number in range(7)]
    seen: list[str] = []
    address = "/api/v1/archives?limit=3"
    while address:
        page = registry.get(address, headers=bearer()).get_json()
        seen += [item["id"] for item in page["items"]]
        address = f"/api/v1/archives?limit=3&cursor={page['next']}" if page["next"] else ""
    assert len(seen) == 7
    assert set(seen) == set(made)
    assert seen[0] == made[-1]
    assert seen[-1] in made[:2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=failed", {"b"}),
        ("state=failed&state=completed", {"a", "b"}),
        ("source=zenodo", {"a"}),
        ("q=profil", {"a"}),
        ("q=PROFILES+atlantic", {"a"}),
        ("q=4711", {"a"}),
        ("q=beam", {"b"}),
        ("q=missing", set()),
        ("q=%27%29%3B+drop+table+archive%3B--", set()),
        ("source=zenodo&state=failed", set()),
    ],
)
def test_filters_have_to_hold_together(world: World, registry: Client, query: str, expected: set[str]) -> None:
    resource = world.resource("zenodo", "4711")
    about, losses = {"description": "Atlantic"}, {"description": "beam losses"}
    named = {
        str(world.archive(title="Temperature profiles", resource_id=resource, metadata_=about)): "a",
        str(world.archive(title="Loss maps", state="failed", metadata_=losses)): "b",
    }
    page = registry.get(f"/api/v1/archives?{query}", headers=bearer()).get_json()
    assert {named[item["id"]] for item in page["items"]} == expected


def test_an_archive_shows_everything_that_belongs_to_it(world: World, registry: Client) -> None:
    archive = world.published()
    for position, name in enumerate(("ingest", "preserve")):
        world.step(archive, name, position, "completed")
    shown = registry.get(f"/api/v1/archives/{archive}", headers=bearer()).get_json()
    assert shown["state"] == "completed"
    assert [package["kind"] for package in shown["packages"]] == ["AIP"]
    assert shown["copies"][0]["location"] == "object-store"
    assert shown["copies"][0]["verified"]
    assert [(step["name"], step["state"]) for step in shown["pipeline"]] == [
        ("ingest", "completed"),
        ("preserve", "completed"),
        ("archive", None),
        ("publish", None),
    ]
    assert shown["publication"]["url"].endswith(str(archive))
    assert registry.get(shown["packages"][0]["links"]["content"], headers=bearer()).status_code == 200


def test_unknown_and_malformed_ids_are_the_same_404(registry: Client) -> None:
    answers = [
        registry.get(f"/api/v1/archives/{identifier}", headers=bearer())
        for identifier in (new_id(), "1", "not-an-id", "%00")
    ]
    assert {answer.status_code for answer in answers} == {404}


def test_steps_tell_why_they_failed(world: World, registry: Client) -> None:
    archive = world.archive(state="rejected")
    finding = {"code": "digest", "severity": "invalid", "message": "wrong", "path": "data/a", "clause": "RFC 8493 3"}
    world.step(archive, "ingest", 0, "failed", error_code="digest", error_message="Wrong bytes.", findings=[finding])
    steps = registry.get(f"/api/v1/archives/{archive}/steps", headers=bearer()).get_json()["items"]
    assert steps[0]["error"] == {"code": "digest", "message": "Wrong bytes."}
    assert steps[0]["findings"] == [finding]


def test_attempts_come_in_pages_and_an_archive_shows_the_last_of_each_step(world: World, registry: Client) -> None:
    archive = world.archive(state="failed")
    for attempt in range(1, 31):
        world.step(archive, "ingest", 0, "completed" if attempt == 30 else "failed", attempt=attempt)
        world.step(archive, "check", 999 + attempt, "completed")
    world.step(archive, "preserve", 1, "failed", output={"marked": "here"})
    seen: list[tuple[int, int]] = []
    address = f"/api/v1/archives/{archive}/steps?limit=25"
    while address:
        page = registry.get(address, headers=bearer()).get_json()
        assert len(page["items"]) <= 25
        seen += [(step["position"], step["attempt"]) for step in page["items"]]
        address = f"/api/v1/archives/{archive}/steps?limit=25&cursor={page['next']}" if page["next"] else ""
    assert seen == sorted(seen)
    assert len(seen) == 61
    pipeline = registry.get(f"/api/v1/archives/{archive}", headers=bearer()).get_json()["pipeline"]
    assert [(step["name"], step["state"], step["attempt"]) for step in pipeline[:3]] == [
        ("ingest", "completed", 30), ("preserve", "failed", 1), ("archive", None, None),
    ]  # fmt: skip
    with world.engine.connect() as connection:
        shown = archives.steps(connection, archive)
    assert [(step.position, step.attempt) for step in shown] == [
        *((0, attempt) for attempt in range(11, 31)), (1, 1), *((position, 1) for position in range(1010, 1030)),
    ]  # fmt: skip
    for cursor in ("x", cursors.encode("1"), cursors.encode("a", "b"), cursors.encode("1", "9" * 19)):
        told = registry.get(f"/api/v1/archives/{archive}/steps?cursor={cursor}", headers=bearer())
        assert told.status_code == 422


def test_files_are_paged_by_path_and_lead_to_their_bytes(world: World, registry: Client) -> None:
    archive = world.archive()
    world.aip(archive)
    seen = {}
    address = f"/api/v1/archives/{archive}/files?limit=3"
    while address:
        page = registry.get(address, headers=bearer()).get_json()
        seen |= {item["path"]: item["links"]["content"] for item in page["items"]}
        address = f"/api/v1/archives/{archive}/files?limit=3&cursor={page['next']}" if page["next"] else ""
    assert sorted(seen) == sorted(FILES)
    for path, link in seen.items():
        assert registry.get(link, headers=bearer()).data == FILES[path]


def test_files_of_a_package_of_another_archive_do_not_exist(world: World, registry: Client) -> None:
    mine, other = world.archive(), world.archive()
    foreign = world.aip(other)
    assert registry.get(f"/api/v1/archives/{mine}/files?package={foreign}", headers=bearer()).status_code == 404
    answer = registry.get(f"/api/v1/archives/{mine}/packages/{foreign}/content", headers=bearer())
    assert answer.status_code == 404


def test_events_are_json_and_premis(world: World, registry: Client) -> None:
    archive = world.archive()
    world.premis(archive, "ingestion", "validation", "fixity check")
    world.premis(world.archive(), "ingestion")
    first = registry.get(f"/api/v1/archives/{archive}/events?limit=2", headers=bearer()).get_json()
    rest = registry.get(f"/api/v1/archives/{archive}/events?cursor={first['next']}", headers=bearer()).get_json()
    assert [event["type"] for event in first["items"] + rest["items"]] == ["ingestion", "validation", "fixity check"]
    assert rest["next"] is None
    for answer in (
        registry.get(f"/api/v1/archives/{archive}/events?format=premis", headers=bearer()),
        registry.get(f"/api/v1/archives/{archive}/events", headers=bearer() | {"Accept": "application/xml"}),
    ):
        assert answer.mimetype == "application/xml"
        assert answer.is_streamed
        assert len(etree.fromstring(answer.data).findall("{http://www.loc.gov/premis/v3}event")) == 3


def test_an_unchanged_archive_is_not_sent_again(world: World, registry: Client) -> None:
    address = f"/api/v1/archives/{world.archive()}"
    tag = registry.get(address, headers=bearer()).headers["ETag"]
    again = registry.get(address, headers=bearer() | {"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


def test_retry_asks_for_the_failed_step_once(world: World, registry: Client) -> None:
    archive = world.archive(state="failed")
    world.step(archive, "ingest", 0, "failed", error_code="x", error_message="y")
    answer = registry.post(f"/api/v1/archives/{archive}/retry", headers=bearer())
    answer.close()
    assert answer.status_code == 202
    assert [event.type for event in world.emitter.sent] == ["org.perdura.ingest.requested.v1"]
    again = registry.post(f"/api/v1/archives/{archive}/retry", headers=bearer())
    assert (again.status_code, again.mimetype) == (409, "application/problem+json")


@pytest.mark.parametrize("address", ["/api/v1/archives", "/api/v1/archives/{id}", "/api/v1/archives/{id}/files"])
def test_a_request_costs_at_most_ten_statements(world: World, registry: Client, address: str) -> None:
    archive = world.published()
    with contextmanager(world.statements)() as seen:
        assert registry.get(address.format(id=archive), headers=bearer()).status_code == 200
    assert len(seen) <= 10


def _steps(world: World) -> list[tuple[str, dict[str, object]]]:
    with world.engine.connect() as connection:
        return [
            (row.name, row.input)
            for row in connection.execute(text("SELECT name, input FROM step WHERE position >= 1000 ORDER BY position"))
        ]


def test_all_copies_of_an_archive_are_checked_each_once_at_a_time(world: World, registry: Client) -> None:
    archive = world.archive()
    address = f"/api/v1/archives/{archive}/checks"
    assert registry.post(address, json={}, headers=bearer()).status_code == 404, "no AIP yet"
    package = world.aip(archive)
    assert registry.post(address, json={"copies": ["tape"]}, headers=bearer()).status_code == 409
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO copy (package_id, location, uri, size, checksums) VALUES (:id, 'tape', 'x', 3, '{}')"),
            {"id": package},
        )
    asked = registry.post(address, json={}, headers=bearer())
    assert asked.status_code == 202
    assert [item["location"] for item in asked.json["items"]] == ["object-store", "tape"]
    assert _steps(world) == [
        ("verify", {"package": str(package)}), ("recall", {"package": str(package), "drill": True}),
    ]  # fmt: skip
    assert registry.post(address, json={}, headers=bearer()).json["items"] == asked.json["items"], "under way already"
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'completed' WHERE name = 'verify'"))
    again = registry.post(address, json={"copies": ["object-store"]}, headers=bearer()).json["items"]
    assert again[0]["step"] != asked.json["items"][0]["step"]


def test_bad_checks_are_refused(world: World, registry: Client) -> None:
    archive, other = world.archive(), world.archive()
    world.aip(archive)
    foreign = world.aip(other)
    address = f"/api/v1/archives/{archive}/checks"
    bad = [{"copies": ["moon"]}, {"package": "a version"}, {"copies": "tape"}, {"other": 1}, []]
    assert [registry.post(address, json=body, headers=bearer()).status_code for body in bad] == [422] * 5
    assert registry.post(address, json={"package": str(foreign)}, headers=bearer()).status_code == 404
    assert registry.post(f"/api/v1/archives/{new_id()}/checks", json={}, headers=bearer()).status_code == 404
    assert registry.post(address, json={}, headers=world.bearer()).status_code in (403, 404)
    assert registry.post(address, json={}).status_code == 401
    assert _steps(world) == []


def test_a_check_is_stopped_by_its_step(world: World, registry: Client) -> None:
    archive = world.archive()
    world.aip(archive)
    [item] = registry.post(f"/api/v1/archives/{archive}/checks", json={}, headers=bearer()).json["items"]
    address = f"/api/v1/archives/{archive}/steps/{item['step']}/cancel"
    assert registry.post(address, headers=world.bearer()).status_code in (403, 404)
    assert [registry.post(address, headers=bearer()).status_code for _ in range(2)] == [202, 409]
    assert registry.post(f"/api/v1/archives/{archive}/steps/{new_id()}/cancel", headers=bearer()).status_code == 404


def test_archiving_again_is_offered_only_for_a_copy_that_was_lost(world: World, registry: Client) -> None:
    archive = world.archive()
    package = world.aip(archive)
    address = f"/api/v1/archives/{archive}"
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO copy (package_id, location, uri, size, checksums) VALUES (:id, 'tape', 'x', 3, '{}')"),
            {"id": package},
        )
    assert "archive-again" not in registry.get(address, headers=bearer()).json["actions"]
    assert registry.post(f"{address}/copies", json={}, headers=bearer()).status_code == 409
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE copy SET state = 'lost' WHERE location = 'tape'"))
    shown = registry.get(address, headers=bearer()).json
    states = [copy["state"] for copy in shown["copies"]]
    assert ("archive-again" in shown["actions"], states) == (True, ["held", "lost"])
    tape = registry.get("/api/v1/tape", headers=bearer()).json
    assert (tape["copies"], tape["broken_copies"]) == (0, 1)
    assert registry.post(f"{address}/copies", json={}, headers=world.bearer()).status_code in (403, 404)
    answers = [registry.post(f"{address}/copies", json={}, headers=bearer()).status_code for _ in range(2)]
    assert answers == [202, 409], "while it is under way it is not offered again"
    with world.engine.connect() as connection:
        [step] = connection.execute(text("SELECT input FROM step WHERE name = 'archive'"))
    assert step.input == {"package": str(package), "copy": 2}


def test_a_version_of_the_aip_is_recalled_by_its_id(world: World, registry: Client) -> None:
    archive, other = world.archive(), world.archive()
    package, foreign = world.aip(archive), world.aip(other)
    address = f"/api/v1/archives/{archive}/recalls"

    def asked(identity: object, **how: str) -> int:
        return registry.post(address, json={"package": str(identity)}, headers=bearer(**how)).status_code

    assert asked(package) == 409, "not on tape"
    with world.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO copy (package_id, location, uri, size, checksums) VALUES (:id, 'tape', 'x', 3, '{}')"),
            [{"id": package}, {"id": foreign}],
        )
    assert [asked(package), asked(foreign), asked(new_id()), asked("a version")] == [202, 404, 404, 422]
    with world.engine.connect() as connection:
        [step] = connection.execute(text("SELECT archive_id, input FROM step WHERE name = 'recall'"))
    assert (step.archive_id, step.input) == (archive, {"package": str(package)})
    plain = registry.post(address, json={"package": str(package)}, headers=world.bearer())
    assert plain.status_code in (403, 404), "who may not operate may not recall"


def test_which_archive_a_duplicate_is_one_of_is_told_to_who_may_see_it(world: World, registry: Client) -> None:
    first, second = world.archive(restricted=True), world.archive(state="rejected")
    world.step(second, "ingest", 0, "failed", output={"duplicate_of": str(first), "files": 1})
    for header, told in ((world.bearer("viewer"), {"files": 1}), (bearer(), {"duplicate_of": str(first), "files": 1})):
        (step,) = registry.get(f"/api/v1/archives/{second}/steps", headers=header).get_json()["items"]
        assert step["output"] == told
