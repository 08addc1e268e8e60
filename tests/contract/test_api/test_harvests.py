"""Harvests, failures and the events of the whole log, as programs read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts.principals import Principal, Role
from perdura.api.queries import failures
from perdura.ids import new_id
from perdura.runtime import jobs as running
from tests.contract.test_api.world import World, bearer


def _get(client: Client, path: str, header: dict[str, str] | None = None, status: int = 200) -> Any:
    answer = client.get(f"/api/v1{path}", headers=header or bearer())
    assert answer.status_code == status, answer.text
    return answer.get_json()


def _harvest(client: Client, header: dict[str, str] | None = None, **asked: Any) -> str:
    answer = client.post("/api/v1/harvests", json=asked, headers=header or bearer())
    assert answer.status_code == 202, answer.text
    return str(answer.get_json()["archive"])


def test_a_harvest_tells_what_was_asked_and_how_it_goes(world: World, registry: Client) -> None:
    archive = _harvest(registry, source="zenodo", recid="42", warc=True)
    told = _get(registry, f"/harvests/{archive}")
    assert told["asked"] == {
        "url": None, "source": "zenodo", "recid": "42", "light": False, "warc": True, "metadata_only": False,
        "engine": None,
    }  # fmt: skip
    assert (told["state"], told["attempt"], told["archive_state"]) == ("queued", 1, "queued")
    world_step = {"archive": archive}
    with world.engine.begin() as connection:
        connection.execute(
            text("UPDATE step SET state = 'failed', error_code = 'gone', error_message = 'It is gone.' "
                 "WHERE archive_id = :archive"), world_step,
        )  # fmt: skip
        connection.execute(text("UPDATE archive SET state = 'failed' WHERE id = :archive"), world_step)
    assert registry.post(f"/api/v1/archives/{archive}/retry", headers=bearer()).status_code == 202
    assert _get(registry, f"/harvests/{archive}")["attempt"] == 2


def test_harvests_are_paged_newest_first_without_what_began_otherwise(world: World, registry: Client) -> None:
    made = [_harvest(registry, url=f"https://zenodo.org/records/{number}") for number in range(5)]
    world.archive(origin="deposit")
    found, path = [], "/harvests?limit=2"
    while path:
        page = _get(registry, path)
        found += [item["archive"] for item in page["items"]]
        path = f"/harvests?limit=2&cursor={page['next']}" if page["next"] else ""
    assert found == made[::-1]
    assert _get(registry, "/harvests?state=completed")["items"] == []
    _get(registry, f"/harvests/{world.archive()}", status=404)


def test_the_harvest_of_a_restricted_archive_is_hidden(world: World, registry: Client) -> None:
    mine = world.bearer("depositor")
    archive = _harvest(registry, mine, source="zenodo", recid="42")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true"))
    viewer = world.bearer("viewer")
    assert _get(registry, "/harvests", viewer)["items"] == []
    _get(registry, f"/harvests/{archive}", viewer, status=404)
    assert len(_get(registry, "/harvests", mine)["items"]) == 1


def test_failures_are_grouped_by_cause_and_a_group_is_retried(world: World, registry: Client) -> None:
    for code, number in (("no-space", 3), ("", 1)):
        for _ in range(number):
            archive = world.archive(state="failed")
            world.step(archive, "ingest", 0, "failed", error_code=code or None, error_message="Say.")
    world.step(rejected := world.archive(state="rejected"), "ingest", 0, "failed", error_code="bag")
    causes = _get(registry, "/failures")["items"]
    assert (causes[0]["code"], causes[0]["archives"], causes[0]["message"]) == ("no-space", 3, "Say.")
    assert {each["code"]: each["retriable"] for each in causes} == {"no-space": True, "": True, "bag": False}
    cause = {"step": "ingest", "code": "no-space", "state": "failed"}
    assert registry.post("/api/v1/failures/retry", json=cause, headers=world.bearer("viewer")).status_code == 403
    job = registry.post("/api/v1/failures/retry", json=cause, headers=bearer()).get_json()
    assert (job["act"], job["total"]) == ("retry", 3)
    running.tick(world)  # type: ignore[arg-type]
    assert _get(registry, f"/jobs/{job['id']}")["done"] == 3
    assert registry.post("/api/v1/failures/retry", json=cause, headers=bearer()).status_code == 409
    final = {"step": "ingest", "code": "bag", "state": "rejected"}
    assert registry.post("/api/v1/failures/retry", json=final, headers=bearer()).status_code == 422
    assert _get(registry, f"/archives/{rejected}")["state"] == "rejected"


def test_the_failures_of_restricted_archives_are_counted_for_those_only_who_see_them(
    world: World, registry: Client
) -> None:
    world.step(world.archive(state="failed", restricted=True), "ingest", 0, "failed", error_code="secret")
    assert _get(registry, "/failures", world.bearer("viewer"))["items"] == []
    assert len(_get(registry, "/failures", world.bearer("archivist"))["items"]) == 1


def test_any_number_of_causes_costs_three_statements_at_most(world: World) -> None:
    for number in range(12):
        archive = world.archive(state="failed", restricted=number % 2 == 0)
        world.step(archive, "ingest", 0, "failed", error_code=f"code-{number}", error_message=f"Say {number}.")
    account = world.account("viewer")
    for principal, expected in (
        (Principal("a", frozenset({Role.ARCHIVIST}), "token", account), range(12)),
        (Principal("v", frozenset({Role.VIEWER}), "token", account), range(1, 12, 2)),
    ):
        counting = world.statements()
        seen = next(counting)
        with world.engine.connect() as connection:
            found = failures.causes(connection, principal)
        next(counting, None)
        assert {cause.message for cause in found} == {f"Say {number}." for number in expected}
        assert len(seen) <= 3


def test_events_of_the_whole_log_are_searched(world: World, registry: Client) -> None:
    archive, hidden = world.archive(title="Letters"), world.archive(restricted=True)
    world.premis(archive, "ingestion", "fixity check", "ingestion")
    world.premis(hidden, "ingestion")
    viewer = world.bearer("viewer")
    page = _get(registry, f"/events?type=ingestion&object={archive}&limit=1", viewer)
    assert page["items"][0]["archives"] == [{"id": str(archive), "title": "Letters"}]
    rest = _get(registry, f"/events?type=ingestion&object={archive}&limit=1&cursor={page['next']}", viewer)
    assert [event["type"] for event in rest["items"]] == ["ingestion"]
    assert rest["next"] is None
    assert len(_get(registry, f"/events?object={hidden}")["items"]) == 1
    assert len(_get(registry, f"/events?object={archive}", viewer)["items"]) == 3
    assert _get(registry, f"/events?object={hidden}", viewer)["items"] == []
    today, tomorrow = datetime.now(UTC).date(), datetime.now(UTC).date() + timedelta(days=1)
    assert len(_get(registry, f"/events?since={today}&until={tomorrow}&object={archive}", viewer)["items"]) == 3
    assert _get(registry, f"/events?since={tomorrow}", viewer)["items"] == []
    assert _get(registry, f"/events?until={today - timedelta(days=1)}&object={archive}", viewer)["items"] == []


@pytest.mark.parametrize("sent", ["since=yesterday", "limit=0", "cursor=x", "type=%00", "what=1"])
def test_a_search_of_events_that_makes_no_sense_names_its_field(registry: Client, sent: str) -> None:
    assert _get(registry, f"/events?{sent}", status=422)["errors"][0]["field"] == f"query.{sent.partition('=')[0]}"


def test_the_wish_for_the_preservation_of_an_archive_is_read_back(world: World, registry: Client) -> None:
    address = f"/archives/{world.archive()}/preservation"
    before = registry.get(f"/api/v1{address}", headers=bearer())
    sent = {"engine": "builtin"}
    put = f"/api/v1{address}"
    stale = registry.put(put, json=sent, headers={**bearer(), "If-Match": '"other"'})
    assert stale.status_code == 412
    assert registry.put(put, json=sent, headers={**bearer(), "If-Match": before.headers["ETag"]}).status_code == 200
    assert _get(registry, address)["engine"] == "builtin"
    _get(registry, f"/archives/{new_id()}/preservation", status=404)
