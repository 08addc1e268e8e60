"""Tape over the API: how the destination is, its jobs, and what operators ask of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts.principals import Permission
from perdura.ids import new_id
from perdura.ports import TapeAccount, TapeCredentials, TapeJob, TapeOrder, TapeRetry
from perdura.registry import tape_duties
from perdura.registry.tape_jobs import RegistryTapeJobs
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in

JOB = "11111111-2222-4333-8444-55555555555{}"


@pytest.fixture
def jobs(world: World) -> RegistryTapeJobs:
    """Three jobs, the oldest of them over."""
    register = RegistryTapeJobs(world.engine)
    for number in range(3):
        register.admit(TapeOrder(f"aip-{number}", f"{number}.tar", 10, 3), 0)
        register.accepted(f"aip-{number}", JOB.format(number), TapeAccount("https://fts.example.org:8446", "/CN=robot"))
    failed = TapeRetry(1, datetime(2026, 11, 24, 12, tzinfo=UTC), "TRANSFER [110] timed out", "node-1", "/var/log/1")
    register.tried("aip-0", [failed])
    register.seen({"aip-0": TapeJob("", "failed", "DESTINATION [5] wrong checksum")}, ["aip-0"])
    return register


def get(registry: Client, path: str = "") -> Any:
    return registry.get(f"/api/v1/tape{path}", headers=bearer()).get_json()


def post(registry: Client, path: str, body: dict[str, Any] | None = None) -> Any:
    return registry.post(f"/api/v1/tape{path}", headers=bearer(), json=body or {})


def test_jobs_are_listed_with_the_tape_systems_own_words(registry: Client, jobs: RegistryTapeJobs) -> None:
    page = get(registry, "/jobs?limit=2")
    assert [item["key"] for item in page["items"]] == ["aip-2", "aip-1"]
    (last,) = get(registry, f"/jobs?limit=2&cursor={page['next']}")["items"]
    assert (last["state"], last["reason"]) == ("failed", "DESTINATION [5] wrong checksum")
    assert last["ended"] is not None
    assert (last["server"], last["holder"]) == ("https://fts.example.org:8446", "/CN=robot")
    assert [(each["attempt"], each["reason"], each["log_file"]) for each in last["retries"]] == [
        (1, "TRANSFER [110] timed out", "/var/log/1")
    ]
    assert [item["key"] for item in get(registry, "/jobs?open=false")["items"]] == ["aip-0"]


def test_a_pause_says_who_and_why_until_it_ends(world: World, registry: Client, jobs: RegistryTapeJobs) -> None:
    paused = post(registry, "/pause", {"reason": "new drives"}).get_json()["pause"]
    assert (paused["by"], paused["reason"]) == ("administrator", "new drives")
    assert jobs.paused() == "paused by administrator: new drives"
    assert post(registry, "/pause", {"reason": "again"}).get_json()["pause"]["reason"] == "new drives"
    assert post(registry, "/resume").get_json()["pause"] is None
    assert jobs.paused() is None
    assert [entry.action for entry in world.audited()] == ["pause_tape", "pause_tape", "resume_tape"]


def test_a_job_is_cancelled_and_prioritised_by_wish(world: World, registry: Client, jobs: RegistryTapeJobs) -> None:
    archive = world.archive(state="waiting")
    with world.engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO step (id, archive_id, name, position, state, checkpoint, poll_at)
                VALUES (:id, :archive, 'archive', 2, 'waiting', CAST(:checkpoint AS jsonb), :later)"""),
            {
                "id": new_id(), "archive": archive, "checkpoint": json.dumps({"job": JOB.format(1)}),
                "later": datetime.now(UTC) + timedelta(hours=1),
            },
        )  # fmt: skip
    assert post(registry, f"/jobs/{JOB.format(1)}/priority", {"priority": 5}).status_code == 202
    assert post(registry, f"/jobs/{JOB.format(1)}/cancel").status_code == 202
    wish = jobs.wishes(["aip-1", "aip-2"])
    assert set(wish) == {"aip-1"}
    assert (wish["aip-1"].cancelled_by, wish["aip-1"].priority) == ("administrator", 5)
    with world.engine.connect() as connection:
        due = connection.execute(text("SELECT poll_at <= clock_timestamp() FROM step")).scalar_one()
    assert due, "the step is looked at without delay"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (f"/jobs/{JOB.format(0)}/cancel", {}, 409),
        (f"/jobs/{JOB.format(9)}/cancel", {}, 404),
        (f"/jobs/{JOB.format(1)}/priority", {"priority": 6}, 422),
        ("/pause", {"reason": ""}, 422),
        ("/pause", {}, 422),
    ],
)
def test_what_cannot_be_is_refused(
    registry: Client, jobs: RegistryTapeJobs, path: str, body: dict[str, Any], status: int
) -> None:
    assert post(registry, path, body).status_code == status


def test_only_operators_see_and_order(world: World, registry: Client, jobs: RegistryTapeJobs) -> None:
    viewer = world.bearer("viewer")
    assert registry.get("/api/v1/tape", headers=viewer).status_code == 403
    assert registry.post("/api/v1/tape/resume", headers=viewer, json={}).status_code == 403
    assert registry.get("/api/v1/tape", headers=world.bearer("archivist")).status_code == 200


def test_a_token_that_may_not_see_what_is_restricted_sees_no_tape_jobs_of_it(
    world: World, registry: Client, jobs: RegistryTapeJobs
) -> None:
    hidden = world.archive(restricted=True)
    world.step(hidden, "recall", 1000, "completed", input={"drill": True})
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE tape_job SET archive_id = :id WHERE key = 'aip-1'"), {"id": hidden})
    narrow = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    for act, sent in (("cancel", {}), ("priority", {"priority": 5})):
        assert registry.post(f"/api/v1/tape/jobs/{JOB.format(1)}/{act}", headers=narrow, json=sent).status_code == 404
    for header, keys, drills in ((narrow, {"aip-0", "aip-2"}, 0), (world.bearer("archivist"), None, 1)):
        listed = registry.get("/api/v1/tape/jobs", headers=header).get_json()["items"]
        assert {item["key"] for item in listed} == (keys or {"aip-0", "aip-1", "aip-2"})
        assert len(registry.get("/api/v1/tape", headers=header).get_json()["drills"]) == drills


def test_the_overview_shows_copies_drills_and_credentials(
    world: World, registry: Client, jobs: RegistryTapeJobs
) -> None:
    archive = world.published()
    now = datetime.now(UTC)
    with world.engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO copy (package_id, location, uri, size, checksums, verified_at)
                SELECT id, 'tape', 'davs://tape/a.tar', 700, '{}', :at FROM package WHERE archive_id = :archive"""),
            {"archive": archive, "at": now - timedelta(days=2)},
        )
        tape_duties.begin_drill(connection, count=1, seed="2026-11-28")
        ends = TapeCredentials("/DC=ch/CN=Robot", now + timedelta(days=20, hours=1), now + timedelta(hours=40))
        tape_duties.note_credentials(connection, ends, None, now)
    found = get(registry)
    assert (found["in_flight"], found["copies"], found["bytes"]) == (2, 1, 700)
    assert [drill["archive"] for drill in found["drills"]] == [str(archive)]
    assert found["credentials"]["holder"] == "/DC=ch/CN=Robot"
    assert found["credentials"]["days_left"] == 20.0
    metrics = registry.get("/api/v1/tape/metrics", headers=bearer())
    assert metrics.content_type.startswith("text/plain; version=0.0.4")
    assert "perdura_tape_certificate_days_left 20\n" in metrics.text
    assert "perdura_tape_jobs_in_flight 2\n" in metrics.text


def test_the_tape_page_shows_the_destination_and_lets_operators_hold_it(
    registry: Client, jobs: RegistryTapeJobs
) -> None:
    sign_in(registry)
    page = registry.get("/tape", base_url=BASE)
    assert "Copies on tape" in page.text
    assert ">2</a>" in page.text
    form = {"csrf": csrf_of(page), "reason": "new <b>drives</b>"}
    assert registry.post("/tape/pause", data={**form, "reason": ""}, base_url=BASE).status_code == 422
    assert registry.post("/tape/pause", data=form, base_url=BASE).status_code == 303
    assert jobs.paused() == "paused by administrator: new <b>drives</b>"
    assert "new &lt;b&gt;drives" in registry.get("/tape", base_url=BASE).text
    assert registry.post("/tape/resume", data=form, base_url=BASE).status_code == 303
    assert jobs.paused() is None


def test_jobs_are_cancelled_and_given_priority_on_their_page(registry: Client, jobs: RegistryTapeJobs) -> None:
    sign_in(registry)
    page = registry.get("/tape/jobs", base_url=BASE)
    assert "DESTINATION [5] wrong checksum" in page.text
    opened = registry.get("/tape/jobs?open=true&limit=1", base_url=BASE).text
    assert "DESTINATION" not in opened
    assert 'rel="next"' in opened
    form = {"csrf": csrf_of(page)}
    first, second = JOB.format(1), JOB.format(2)
    assert registry.post(f"/tape/jobs/{first}/cancel", data=form, base_url=BASE).status_code == 303
    assert (
        registry.post(f"/tape/jobs/{second}/priority", data={**form, "priority": "9"}, base_url=BASE).status_code == 422
    )
    assert (
        registry.post(f"/tape/jobs/{second}/priority", data={**form, "priority": "5"}, base_url=BASE).status_code == 303
    )
    told = {item["job"]: item for item in get(registry, "/jobs?open=true")["items"]}
    assert told[first]["cancelled_by"] == "administrator"
    assert told[second]["wanted_priority"] == 5
