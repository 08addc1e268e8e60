"""Recurring harvests over the API: made, changed, run, looked into, and what is wrong with a request for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, text
from werkzeug.test import Client

from perdura.ids import new_id
from perdura.registry import runs
from perdura.registry.run_states import ItemState, RunState
from perdura.registry.tables import Collection
from tests.contract.test_api.world import World, bearer

BODY = {"name": "Weekly theses", "source": "zenodo", "query": "resource_type.type:thesis", "cron": "0 3 * * 1"}
LISTED = "org.perdura.harvest.run.requested.v1"


def ask(registry: Client, method: str, path: str, body: Any = None) -> Any:
    more = {"json": body} if body is not None else {}
    with registry.open(f"/api/v1{path}", method=method, headers=bearer(), **more) as answer:
        return answer.status_code, answer.get_json()


def made(registry: Client, **more: Any) -> dict[str, Any]:
    status, told = ask(registry, "POST", "/schedules", {**BODY, **more})
    assert status == 201, told
    return dict(told)


def begun(world: World, registry: Client) -> tuple[str, UUID]:
    """A schedule with a run of three listed records: one queued, one failed, one unchanged."""
    schedule = made(registry)["id"]
    status, run = ask(registry, "POST", f"/schedules/{schedule}/runs")
    assert status == 202
    run_id = UUID(run["id"])
    items = [runs.NewItem(f"{state}-1", "1", None, state) for state in ("queued", "failed", "unchanged")]
    with world.engine.begin() as connection:
        runs.add(connection, run_id, 0, "zenodo", [runs.NewItem(i.recid, "1", None, ItemState(i.state)) for i in items])
    return schedule, run_id


def test_a_schedule_is_made_read_changed_and_retired(world: World, registry: Client) -> None:
    told = made(registry)
    assert (told["state"], told["source"], told["concurrency"], told["owner"]) == (
        "active",
        "zenodo",
        4,
        "administrator",
    )
    assert datetime.fromisoformat(told["next"]) > datetime.now(UTC)
    assert told["pipeline"][0] == "harvest"
    assert ask(registry, "GET", told["links"]["self"].removeprefix("/api/v1")) == (200, told)
    status, changed = ask(registry, "PATCH", f"/schedules/{told['id']}", {"cron": "@daily", "record_limit": 5})
    assert (status, changed["cron"], changed["record_limit"], changed["query"]) == (200, "@daily", 5, BODY["query"])
    status, changed = ask(registry, "PATCH", f"/schedules/{told['id']}", {"record_limit": None})
    assert (status, changed["record_limit"]) == (200, None)
    status, retired = ask(registry, "DELETE", f"/schedules/{told['id']}")
    assert (status, retired["state"], retired["next"]) == (200, "retired", None)
    assert ask(registry, "GET", "/schedules")[1]["items"] == []
    assert len(ask(registry, "GET", "/schedules?state=retired")[1]["items"]) == 1
    assert ask(registry, "POST", f"/schedules/{told['id']}/resume")[0] == 404


def test_pausing_and_resuming_a_schedule(registry: Client) -> None:
    told = made(registry, paused=True)
    assert (told["state"], told["next"]) == ("paused", None)
    resumed = ask(registry, "POST", f"/schedules/{told['id']}/resume")[1]
    assert resumed["state"] == "active"
    assert resumed["next"] is not None
    assert ask(registry, "POST", f"/schedules/{told['id']}/pause")[1]["state"] == "paused"


def test_schedules_come_in_pages(registry: Client) -> None:
    names = [made(registry, name=f"s{number}")["name"] for number in range(5)]
    seen: list[str] = []
    path = "/schedules?limit=2"
    while path:
        page = ask(registry, "GET", path)[1]
        seen += [item["name"] for item in page["items"]]
        path = f"/schedules?limit=2&cursor={page['next']}" if page["next"] else ""
    assert seen == names[::-1]


def test_a_schedule_is_run_at_once_and_only_one_run_is_open(world: World, registry: Client) -> None:
    schedule = made(registry, since=(datetime.now(UTC) - timedelta(days=1)).isoformat())["id"]
    status, run = ask(registry, "POST", f"/schedules/{schedule}/runs")
    assert (status, run["state"], run["counts"]["queued"]) == (202, "listing", 0)
    assert len(run["batches"]) == 1
    assert ask(registry, "POST", f"/schedules/{schedule}/runs")[0] == 409
    assert [event.type for event in world.emitter.sent] == [LISTED]
    assert ask(registry, "GET", f"/schedules/{schedule}")[1]["last_run"]["id"] == run["id"]
    assert [each["id"] for each in ask(registry, "GET", f"/schedules/{schedule}/runs")[1]["items"]] == [run["id"]]


def test_records_of_a_run_by_state(world: World, registry: Client) -> None:
    _, run = begun(world, registry)
    told = ask(registry, "GET", f"/runs/{run}")[1]
    assert {name: number for name, number in told["counts"].items() if number} == {
        "queued": 1,
        "failed": 1,
        "unchanged": 1,
    }
    page = ask(registry, "GET", f"/runs/{run}/items?limit=2")[1]
    assert [item["recid"] for item in page["items"]] == ["queued-1", "failed-1"]
    rest = ask(registry, "GET", f"/runs/{run}/items?limit=2&cursor={page['next']}")[1]
    assert ([item["recid"] for item in rest["items"]], rest["next"]) == (["unchanged-1"], None)
    failed = ask(registry, "GET", f"/runs/{run}/items?state=failed")[1]["items"]
    assert [item["recid"] for item in failed] == ["failed-1"]


def test_a_run_is_paused_resumed_retried_and_cancelled(world: World, registry: Client) -> None:
    _, run = begun(world, registry)
    assert ask(registry, "POST", f"/runs/{run}/pause")[1]["state"] == "paused"
    assert ask(registry, "POST", f"/runs/{run}/pause")[0] == 409
    assert ask(registry, "POST", f"/runs/{run}/resume")[1]["state"] == "listing"
    status, told = ask(registry, "POST", f"/runs/{run}/retry")
    assert (status, told["items"]) == (202, 1)
    assert ask(registry, "GET", f"/runs/{run}")[1]["counts"]["running"] == 2
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE harvest_item SET state = 'queued' WHERE recid = 'failed-1'"))
    status, told = ask(registry, "POST", f"/runs/{run}/cancel")
    assert (status, told["state"], told["items"]) == (200, RunState.CANCELLED, 1)
    for action in ("pause", "resume", "retry", "cancel"):
        assert ask(registry, "POST", f"/runs/{run}/{action}")[0] == 409


def test_archives_of_a_run_join_its_collection(world: World, registry: Client) -> None:
    collection = new_id()
    with world.engine.begin() as connection:
        connection.execute(insert(Collection).values(id=collection, name="Theses"))
    schedule = made(registry, collection=str(collection))["id"]
    run = UUID(ask(registry, "POST", f"/schedules/{schedule}/runs")[1]["id"])
    with world.engine.begin() as connection:
        runs.add(connection, run, 0, "zenodo", [runs.NewItem("1", "1", "A thesis", ItemState.FAILED)])
    ask(registry, "POST", f"/runs/{run}/retry")
    (item,) = ask(registry, "GET", f"/runs/{run}/items")[1]["items"]
    with world.engine.connect() as connection:
        members = connection.execute(text("SELECT archive_id FROM collection_member")).scalars().all()
        step_input = connection.execute(text("SELECT input FROM step")).scalar_one()
    assert [str(member) for member in members] == [item["archive"]]
    assert (step_input["source"], step_input["recid"]) == ("zenodo", "1")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"cron": "every day"}, 422),
        ({"cron": "0 0 0 * *"}, 422),
        ({"source": "nowhere"}, 422),
        ({"source": "gitlab"}, 422),
        ({"source": "gitlab", "way": "oai-pmh"}, 422),
        ({"way": "guess"}, 422),
        ({"follows": "deleted"}, 422),
        ({"name": ""}, 422),
        ({"concurrency": 0}, 422),
        ({"record_limit": 0}, 422),
        ({"failure_share": 2}, 422),
        ({"pipeline": ["publish"]}, 422),
        ({"pipeline": ["ingest"]}, 422),
        ({"pipeline": []}, 422),
        ({"base_url": "https://elsewhere.example.org"}, 422),
        ({"source": "demo", "base_url": "http://169.254.169.254"}, 422),
        ({"collection": str(new_id())}, 404),
        ({"unknown": 1}, 422),
    ],
)
def test_what_is_no_schedule_is_refused(registry: Client, change: dict[str, Any], status: int) -> None:
    assert ask(registry, "POST", "/schedules", {**BODY, **change})[0] == status


def test_a_name_is_taken_once(registry: Client) -> None:
    made(registry)
    assert ask(registry, "POST", "/schedules", BODY)[0] == 409
    other = made(registry, name="other")["id"]
    assert ask(registry, "PATCH", f"/schedules/{other}", {"name": BODY["name"]})[0] == 409


@pytest.mark.parametrize("path", ["/schedules/{}", "/schedules/{}/runs", "/runs/{}", "/runs/{}/items"])
def test_what_is_not_there_is_not_found(registry: Client, path: str) -> None:
    assert ask(registry, "GET", path.format(new_id()))[0] == 404


def test_strangers_see_and_change_nothing(registry: Client) -> None:
    assert registry.get("/api/v1/schedules").status_code == 401
    assert registry.post("/api/v1/schedules", json=BODY).status_code == 401


def test_schedules_and_runs_tell_nothing_of_what_is_restricted(world: World, registry: Client) -> None:
    hidden, open_ = world.collection(restricted=True), world.collection()
    schedule, run = begun(world, registry)
    assert ask(registry, "PATCH", f"/schedules/{schedule}", {"collection": str(hidden)})[1]["collection"] == str(hidden)
    for role, sees in (("viewer", False), ("depositor", False), ("auditor", True), ("archivist", True)):
        header = world.bearer(role)
        schedules = [
            registry.get(f"/api/v1/schedules/{schedule}", headers=header).get_json(),
            registry.get("/api/v1/schedules", headers=header).get_json()["items"][0],
        ]
        assert [each["collection"] for each in schedules] == [str(hidden) if sees else None] * 2
        runs_ = [
            registry.get(f"/api/v1/runs/{run}", headers=header).get_json(),
            registry.get(f"/api/v1/schedules/{schedule}/runs", headers=header).get_json()["items"][0],
            *(each["last_run"] for each in schedules),
        ]
        assert [each["counts"] is not None for each in runs_] == [sees] * 4
        pages = [
            registry.get(path, headers=header) for path in ("/schedules", f"/schedules/{schedule}", f"/runs/{run}")
        ]
        assert [page.status_code for page in pages] == [200, 200, 200]
        assert (str(hidden) in pages[1].text, "failed: 1" in pages[2].text.lower()) == (sees, sees)
    ask(registry, "PATCH", f"/schedules/{schedule}", {"collection": str(open_)})
    told = registry.get(f"/api/v1/schedules/{schedule}", headers=world.bearer("viewer")).get_json()
    assert told["collection"] == str(open_)


def test_a_collection_that_schedules_fill_is_not_removed_and_one_of_retired_ones_is(
    world: World, registry: Client
) -> None:
    collection = world.collection(world.archive())
    old, new = (made(registry, name=name, collection=str(collection))["id"] for name in ("Old theses", "New theses"))
    assert ask(registry, "DELETE", f"/schedules/{old}")[0] == 200
    status, refused = ask(registry, "DELETE", f"/collections/{collection}")
    assert (status, refused["type"]) == (409, "urn:perdura:problem:collection-in-use")
    assert "New theses" in refused["detail"]
    assert "Old theses" not in refused["detail"]
    assert ask(registry, "GET", f"/collections/{collection}")[1]["archives"] == 1
    assert ask(registry, "DELETE", f"/schedules/{new}")[0] == 200
    assert ask(registry, "DELETE", f"/collections/{collection}")[0] == 204
    assert ask(registry, "GET", f"/schedules/{old}")[1]["collection"] is None
