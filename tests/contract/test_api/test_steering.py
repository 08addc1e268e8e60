"""Acts on Archives: one by one, and many as a job; pipelines; collections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts.principals import administrator
from perdura.api.queries import collections as collection_queries
from perdura.api.queries import jobs as queries
from perdura.errors import NotFound, Retryable
from perdura.ids import new_id
from perdura.registry import collections, jobs, steering
from perdura.registry.steering import Act
from perdura.runtime import jobs as running
from tests.contract.test_api.world import World, bearer

PIPELINE = ["ingest", "preserve", "archive", "publish"]


def _post(client: Client, path: str, body: Any = None, **more: Any) -> Any:
    return client.post(f"/api/v1{path}", json=body, headers=bearer(), **more)


def _get(client: Client, path: str) -> Any:
    return client.get(f"/api/v1{path}", headers=bearer()).get_json()


def _failed(world: World, name: str = "archive", **values: Any) -> Any:
    archive = world.archive(state="failed", **values)
    position = PIPELINE.index(name)
    for before in range(position):
        world.step(archive, PIPELINE[before], before, "completed")
    world.step(archive, name, position, "failed", error_code="no-space", error_message="No space.")
    return archive


def test_only_what_makes_sense_is_offered() -> None:
    assert steering.legal("failed", PIPELINE, 2, "failed") == [Act.RETRY, Act.SKIP]
    assert steering.legal("failed", PIPELINE, 0, "failed") == [Act.RETRY]
    assert steering.legal("rejected", PIPELINE, 0, "failed") == []
    assert steering.legal("running", PIPELINE, 1, "running") == [Act.CANCEL]
    assert steering.legal("blocked", PIPELINE, 2, "blocked") == [Act.RETRY, Act.SKIP, Act.CANCEL]
    assert steering.legal("completed", PIPELINE, 3, "completed") == [Act.RUN]
    assert steering.legal("completed", [*PIPELINE, "notify"], 4, "completed") == []
    assert steering.legal("completed", [*PIPELINE[:3], *PIPELINE[1:3]], 4, "completed") == [Act.RUN]
    assert steering.legal("awaiting_upload", PIPELINE, None, None) == [Act.CANCEL]


def test_a_skipped_step_is_left_out_and_remembered(world: World, registry: Client) -> None:
    archive = _failed(world)
    assert _get(registry, f"/archives/{archive}")["actions"] == ["retry", "skip"]
    assert _post(registry, f"/archives/{archive}/skip").status_code == 202
    steps = _get(registry, f"/archives/{archive}/steps")["items"]
    assert [(step["name"], step["attempt"], step["state"]) for step in steps[2:]] == [
        ("archive", 1, "failed"), ("archive", 2, "cancelled"), ("publish", 1, "queued"),
    ]  # fmt: skip
    assert steps[3]["output"] == {"skipped_by": "administrator"}
    with world.engine.connect() as connection:
        asked = connection.execute(text("SELECT event ->> 'type' FROM outbox")).scalars().all()
    assert asked == ["org.perdura.publish.requested.v1"]
    assert _get(registry, f"/archives/{archive}")["state"] == "running"
    assert _post(registry, f"/archives/{archive}/skip").status_code == 409


def test_a_needed_step_cannot_be_skipped(world: World, registry: Client) -> None:
    archive = _failed(world, "ingest")
    answer = _post(registry, f"/archives/{archive}/skip")
    assert (answer.status_code, answer.get_json()["type"]) == (422, "urn:perdura:problem:needed-step")


def test_skipping_the_last_step_ends_with_a_warning(world: World, registry: Client) -> None:
    archive = _failed(world, "publish")
    _post(registry, f"/archives/{archive}/skip")
    assert _get(registry, f"/archives/{archive}")["state"] == "completed_with_warnings"


def test_what_is_cancelled_stops_once(world: World, registry: Client) -> None:
    archive = world.archive(state="waiting")
    world.step(archive, "ingest", 0, "waiting")
    assert _post(registry, f"/archives/{archive}/cancel").status_code == 202
    assert _get(registry, f"/archives/{archive}")["state"] == "cancelled"
    assert _post(registry, f"/archives/{archive}/cancel").status_code == 409


def test_more_steps_run_behind_a_finished_pipeline_only(world: World, registry: Client) -> None:
    archive = world.archive(state="completed")
    for position, name in enumerate(PIPELINE):
        world.step(archive, name, position, "completed")
    assert _post(registry, f"/archives/{archive}/run", {"steps": ["ingest"]}).status_code == 422
    assert _post(registry, f"/archives/{archive}/run", {"steps": []}).status_code == 422
    assert _post(registry, f"/archives/{archive}/run", {"steps": ["notify"]}).status_code == 202
    assert [step["name"] for step in _get(registry, f"/archives/{archive}")["pipeline"]] == [*PIPELINE, "notify"]
    assert _post(registry, f"/archives/{archive}/run", {"steps": ["notify"]}).status_code == 409


def test_more_steps_run_behind_a_version_that_was_made_anew(world: World, registry: Client) -> None:
    renewed = [*PIPELINE, *PIPELINE[1:]]
    archive = world.archive(state="completed", pipeline=renewed)
    for position, name in enumerate(renewed):
        world.step(archive, name, position, "completed")
    assert _get(registry, f"/archives/{archive}")["actions"] == ["run"]
    assert _post(registry, f"/archives/{archive}/run", {"steps": ["archive"]}).status_code == 422
    assert _post(registry, f"/archives/{archive}/run", {"steps": ["notify"]}).status_code == 202
    assert [step["name"] for step in _get(registry, f"/archives/{archive}")["pipeline"]] == [*renewed, "notify"]


def test_a_job_does_what_its_plan_said(world: World, registry: Client) -> None:
    failed = [_failed(world) for _ in range(120)]
    world.archive(state="completed")
    wanted = {"act": "retry", "filter": {"q": "title"}}
    plan = _post(registry, "/jobs/plan", wanted).get_json()
    assert (plan["total"], plan["eligible"], plan["states"]) == (121, 120, {"failed": 120, "completed": 1})
    job = _post(registry, "/jobs", wanted).get_json()
    assert (job["state"], job["total"]) == ("queued", 120)
    late = _failed(world)
    events = running.tick(world)  # type: ignore[arg-type]
    job = _get(registry, f"/jobs/{job['id']}")
    assert (job["state"], job["done"], job["failed"]) == ("completed", 120, 0)
    assert len(events) == 120
    assert _get(registry, f"/archives/{failed[0]}")["state"] == "running"
    assert _get(registry, f"/archives/{late}")["state"] == "failed"
    again = _post(registry, "/jobs", {"act": "cancel", "archives": [str(failed[0])]}).get_json()
    assert again["total"] == 1


def test_items_that_fail_say_why_and_stop_nothing(world: World, registry: Client) -> None:
    good, needed = _failed(world), _failed(world, "ingest")
    job = _post(registry, "/jobs", {"act": "skip", "archives": [str(good), str(needed)]}).get_json()
    running.tick(world)  # type: ignore[arg-type]
    items = _get(registry, f"/jobs/{job['id']}/items")["items"]
    assert [(item["archive"], item["state"], item["code"]) for item in items] == [
        (str(good), "done", None), (str(needed), "failed", "needed-step"),
    ]  # fmt: skip
    assert len(_get(registry, f"/jobs/{job['id']}/items?state=failed")["items"]) == 1
    entry = world.audited()[-1]
    assert (entry.action, entry.actor, entry.means) == (f"job.{job['act']}", "administrator", "job")
    assert entry.objects == [job["id"], str(good)]
    assert entry.detail == {"job": job["id"], "done": 1, "failed": 1}


def test_a_passing_trouble_leaves_the_rest_for_later(world: World) -> None:
    with world.engine.begin() as connection:
        job = jobs.make(connection, "odd", [{"subject": str(n)} for n in range(3)], by=jobs.Asker("me", None))
    tries: list[str] = []

    def worker(_connection: Any, _given: Any, item: jobs.Item, _by: str) -> jobs.Done:
        tries.append(item.subject)
        if item.subject == "1" and tries.count("1") == 1:
            raise Retryable("Not now.")
        return jobs.Done(None)

    def work() -> bool:
        with world.engine.begin() as connection:
            return jobs.work(connection, {"odd": worker}) is not None

    assert [work(), work()] == [True, False]
    assert _get(world.registry(), f"/jobs/{job}")["waits_for"] == "Not now."
    _give_turns(world)
    assert [work(), work()] == [True, False]
    assert tries == ["0", "1", "1", "2"]
    told = _get(world.registry(), f"/jobs/{job}")
    assert (told["state"], told["done"], told["waits_for"]) == ("completed", 3, None)


def _give_turns(world: World) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE job SET turn_at = clock_timestamp()"))


def test_a_job_that_waits_lets_the_others_pass_and_large_ones_share_the_time(world: World) -> None:
    with world.engine.begin() as connection:
        jobs.make(connection, "stuck", [{"subject": "stuck"}], by=jobs.Asker("me", None))
        jobs.make(connection, "large", [{"subject": "large"}] * (3 * jobs.SLICE), by=jobs.Asker("me", None))
        jobs.make(connection, "small", [{"subject": "small"}], by=jobs.Asker("me", None))
    order: list[str] = []

    def worker(connection: Any, _given: Any, item: jobs.Item, _by: Any) -> jobs.Done:
        order.append(item.subject)
        if item.subject == "stuck":
            connection.execute(text("SET LOCAL statement_timeout = 1"))
            connection.execute(text("SELECT pg_sleep(1)"))
        return jobs.Done(None)

    workers = dict.fromkeys(("stuck", "large", "small"), worker)
    done: Any = True
    while done is not None:
        with world.engine.begin() as connection:
            done = jobs.work(connection, workers)
    assert order == ["stuck", *["large"] * jobs.SLICE, "small", *["large"] * 2 * jobs.SLICE]


def test_an_error_that_nobody_foresaw_is_the_end_of_its_item_alone(world: World, registry: Client) -> None:
    archive, collection = world.archive(), world.collection()
    wanted = {"act": "collect", "archives": [str(archive)], "collection": str(collection)}
    gone = _post(registry, "/jobs", wanted).get_json()["id"]
    assert registry.delete(f"/api/v1/collections/{collection}", headers=bearer()).status_code == 204
    with world.engine.begin() as connection:
        me, items = jobs.Asker("me", None), [{"archive": archive}]
        broken = jobs.make(connection, "collect", items, by=me, given={"collection": "no id"})
        wrong = jobs.make(connection, "run", items, by=me, given={"steps": 1})
    fine = _post(registry, "/jobs", wanted | {"collection": str(world.collection())}).get_json()["id"]
    running.tick(world)  # type: ignore[arg-type]
    told = {job: _get(registry, f"/jobs/{job}/items")["items"][0] for job in (gone, broken, wrong, fine)}
    assert [(item["state"], item["code"]) for item in told.values()] == [
        ("failed", "not-found"), ("failed", "internal"), ("failed", "internal"), ("done", None),
    ]  # fmt: skip


def test_a_job_covers_all_that_match_or_is_refused(
    world: World, registry: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LARGEST", 10)
    monkeypatch.setattr(queries, "LARGEST", 10)
    for _ in range(15):
        world.archive(state="completed")
    failed = {str(_failed(world)) for _ in range(7)}
    plan = _post(registry, "/jobs/plan", {"act": "retry", "filter": {}}).get_json()
    assert (plan["total"], plan["eligible"], plan["fits"]) == (22, 7, True)
    job = _post(registry, "/jobs", {"act": "retry", "filter": {}}).get_json()
    assert {item["archive"] for item in _get(registry, f"/jobs/{job['id']}/items")["items"]} == failed
    plan = _post(registry, "/jobs/plan", {"act": "run", "filter": {}, "steps": ["publish"]}).get_json()
    assert (plan["eligible"], plan["fits"]) == (15, False)
    refused = _post(registry, "/jobs", {"act": "run", "filter": {}, "steps": ["publish"]})
    assert (refused.status_code, refused.get_json()["type"]) == (409, "urn:perdura:problem:job-too-large")


@pytest.mark.parametrize(
    "body",
    [
        {"act": "retry"},
        {"act": "burn", "filter": {}},
        {"act": "run", "filter": {}},
        {"act": "retry", "filter": {}, "archives": [str(new_id())]},
        {"act": "collect", "filter": {}},
        {"act": "retry", "filter": {"colour": "red"}},
        {"act": "retry", "archives": []},
    ],
)
def test_a_job_that_makes_no_sense_is_refused_with_its_field(registry: Client, body: dict[str, Any]) -> None:
    for path in ("/jobs", "/jobs/plan"):
        answer = _post(registry, path, body)
        assert answer.status_code == 422
        assert answer.get_json()["errors"][0]["field"].startswith("body")


def test_an_empty_job_and_an_ended_job_are_conflicts(world: World, registry: Client) -> None:
    assert _post(registry, "/jobs", {"act": "retry", "filter": {}}).status_code == 409
    archive = _failed(world)
    job = _post(registry, "/jobs", {"act": "retry", "archives": [str(archive)]}).get_json()
    assert _post(registry, f"/jobs/{job['id']}/cancel").get_json()["state"] == "cancelled"
    assert _post(registry, f"/jobs/{job['id']}/cancel").status_code == 409
    assert running.tick(world) == []  # type: ignore[arg-type]


def test_pipelines_are_checked_before_they_are_kept(world: World, registry: Client) -> None:
    plan = _post(registry, "/pipelines/plan", {"steps": ["ingest", "preserve"]}).get_json()
    assert plan == {"legal": True, "reason": None, "next": ["archive", "notify", "publish"]}
    refused = _post(registry, "/pipelines/plan", {"steps": ["archive"]}).get_json()
    assert not refused["legal"]
    put = registry.put("/api/v1/pipelines/light", json={"steps": ["ingest", "preserve"]}, headers=bearer())
    assert put.status_code == 200
    bad = registry.put("/api/v1/pipelines/light", json={"steps": ["publish"]}, headers=bearer())
    assert bad.status_code == 422
    assert "light" in [item["name"] for item in _get(registry, "/pipelines")["items"]]
    assert registry.delete("/api/v1/pipelines/light", headers=bearer()).status_code == 204
    assert registry.delete("/api/v1/pipelines/deposit", headers=bearer()).status_code == 409
    assert registry.get("/api/v1/pipelines/light", headers=bearer()).status_code == 404


def test_a_collection_is_filled_by_list_and_by_filter(world: World, registry: Client) -> None:
    one, two = world.archive(title="one"), world.archive(title="two", state="failed")
    collection = _post(registry, "/collections", {"name": "Theses", "description": "All of them"}).get_json()
    assert _post(registry, "/collections", {"name": "Theses"}).status_code == 409
    members = f"/collections/{collection['id']}/members"
    assert _post(registry, members, {"archives": [str(one)]}).get_json() == {"changed": 1}
    assert _post(registry, members, {"archives": [str(one), str(new_id())]}).status_code == 404
    _post(registry, "/jobs", {"act": "collect", "filter": {"q": "two"}, "collection": collection["id"]})
    running.tick(world)  # type: ignore[arg-type]
    assert _get(registry, f"/collections/{collection['id']}")["archives"] == 2
    found = _get(registry, f"/archives?collection={collection['id']}&state=failed")["items"]
    assert [item["id"] for item in found] == [str(two)]
    summary = _get(registry, f"/collections/{collection['id']}/summary")
    assert (summary["total"], {f["value"]: f["count"] for f in summary["facets"]["state"]}) == (
        2, {"completed": 1, "failed": 1},
    )  # fmt: skip
    assert _post(registry, f"{members}/remove", {"archives": [str(one)]}).get_json() == {"changed": 1}
    changed = registry.patch(
        f"/api/v1/collections/{collection['id']}", json={"name": "Dissertations"}, headers=bearer()
    )
    assert changed.get_json()["name"] == "Dissertations"
    assert [item["name"] for item in _get(registry, "/collections?q=dissert")["items"]] == ["Dissertations"]
    assert registry.delete(f"/api/v1/collections/{collection['id']}", headers=bearer()).status_code == 204
    assert _get(registry, f"/archives/{one}")["id"] == str(one)


def test_a_collection_is_found_however_the_accents_of_its_name_are_written(world: World, registry: Client) -> None:
    apart, together = "Thèses de l\u2019e\u0301cole", "Th\u00e8ses de l\u2019\u00e9cole"
    made = _post(registry, "/collections", {"name": apart}).get_json()
    assert made["name"] == together
    assert _post(registry, "/collections", {"name": together}).status_code == 409
    older = world.collection(name="Mu\u0308nchen")
    theses, munich = ("e\u0301cole", "\u00e9COLE", "ecole", "theses d"), ("M\u00fcnchen", "munch")
    for name, typed in ((together, theses), ("Mu\u0308nchen", munich)):
        for part in typed:
            assert [item["name"] for item in _get(registry, f"/collections?q={quote(part)}")["items"]] == [name], part
    for part in ("%", "_", "ecoles"):
        assert _get(registry, f"/collections?q={quote(part)}")["items"] == []
    for name, identifier in ((apart, made["id"]), ("M\u00fcnchen", older)):
        with world.engine.connect() as connection:
            row = collection_queries.named(connection, administrator("test"), name)
        assert row is not None
        assert str(row.id) == str(identifier)


def test_what_joins_a_collection_that_is_removed_meanwhile_finds_it_gone(world: World) -> None:
    archive, collection = world.archive(), world.collection()
    with world.engine.connect() as remover, world.engine.connect() as adder:
        collections.remove(remover, collection)
        with ThreadPoolExecutor(1) as threads:
            adding = threads.submit(collections.add, adder, collection, [archive])
            remover.commit()
            with pytest.raises(NotFound):
                adding.result(10)


@pytest.mark.parametrize("steps", [["foo"], ["publish", "preserve"], ["notify", "archive"]])
def test_steps_that_cannot_be_run_are_refused_by_name(world: World, registry: Client, steps: list[str]) -> None:
    body = {"act": "run", "archives": [str(world.archive())], "steps": steps}
    for path in ("/jobs", "/jobs/plan"):
        refused = _post(registry, path, body)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.get_json()["errors"]] == ["body.steps"]
