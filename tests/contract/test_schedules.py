"""Recurring harvests from the schedule to the last record, on a real PostgreSQL, against a repository that changes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, insert, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.accounts import rights
from perdura.accounts.principals import Principal
from perdura.accounts.rights import Thing
from perdura.accounts.tables import Account
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict
from perdura.ids import new_id
from perdura.premis import log
from perdura.registry import schedules as registry
from perdura.registry.run_states import ScheduleState
from perdura.runtime import function, relay, run_listing, schedules
from perdura.runtime.delivery import StepRunner
from perdura.runtime.environment import Environment
from perdura.runtime.extras import harvesting
from perdura.runtime.room import Room
from perdura.settings import Settings
from perdura.steps import harvest
from perdura.storage.memory import MemoryStore
from tests.upstreams.repository import Repository
from tests.upstreams.server import Reply, Upstream, serving

pytestmark = pytest.mark.stack

HARVEST = "org.perdura.harvest.requested.v1"
PAST = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Emitter:
    """The broker's doorstep."""

    queue: list[CloudEvent] = field(default_factory=list)

    def emit(self, events: Sequence[CloudEvent]) -> None:
        self.queue += events

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        response.call_on_close(lambda: self.emit(events))
        return response


@dataclass
class Platform:
    """The functions harvest and relay with a broker that delivers one CloudEvent after the other."""

    engine: Engine
    environment: Environment
    emitter: Emitter
    repository: Repository
    upstream: Upstream
    client: Client
    answers: Counter[int] = field(default_factory=Counter)
    told: list[CloudEvent] = field(default_factory=list)

    def schedule(self, **values: Any) -> UUID:
        given = {
            "name": str(new_id()),
            "source": "demo",
            "base_url": self.upstream.base,
            "way": "search",
            "cron": "0 3 * * *",
            "pipeline": ("harvest",),
            "grace_seconds": 0,
            **values,
        }
        with self.engine.begin() as connection:
            due = datetime.now(UTC) + timedelta(days=1)
            owner = registry.Owner(None, "test")
            return registry.create(connection, registry.Wanted(**given), owner=owner, since=None, next_at=due)

    def run_now(self, schedule: UUID) -> UUID:
        with self.engine.begin() as connection:
            run, events = schedules.run_now(connection, schedule)
        self.emitter.emit(events)
        return run

    def work(self, most: int = 100_000) -> None:
        """Deliver until nothing is left, or so many CloudEvents."""
        for _ in range(most):
            if not self.emitter.queue:
                return
            event = self.emitter.queue.pop(0)
            if event.type not in (HARVEST, schedules.LIST_REQUEST):
                self.told.append(event)
                continue
            headers, body = encode_binary(event)
            with self.client.post("/", headers=headers, data=body) as response:
                response.get_data()
                self.answers[response.status_code] += 1

    def tick(self) -> None:
        self.emitter.emit(list(schedules.tick(self.environment)))

    def row(self, statement: str, **values: Any) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(statement), values).one()

    def counts(self, run: UUID) -> dict[str, int]:
        with self.engine.connect() as connection:
            statement = "SELECT state, count(*) AS number FROM harvest_item WHERE run_id = :run GROUP BY state"
            return {row.state: row.number for row in connection.execute(text(statement), {"run": run})}

    def state(self, run: UUID) -> str:
        return str(self.row("SELECT state FROM harvest_run WHERE id = :run", run=run)[0])

    def archives(self) -> int:
        return int(self.row("SELECT count(*) FROM archive WHERE state <> 'cancelled'")[0])

    def notes(self, note: str) -> int:
        """How many PREMIS events have an outcome with this note."""
        with self.engine.connect() as connection:
            archives = connection.execute(text("SELECT id FROM archive")).scalars().all()
            stored = [each.event for id_ in archives for each in log.events_of(connection, archive_id=id_, limit=100)]
        return sum(note in outcome.notes for event in stored for outcome in event.outcomes)


@pytest.fixture
def platform(database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    emitter = Emitter()
    environment = Environment(Settings(database_url=database_url, allow_loopback_upstreams=True))
    vars(environment).update(engine=database, store=MemoryStore(), emitter=emitter)
    monkeypatch.setattr(function, "environment", lambda: environment)
    runner = StepRunner("harvest", harvest.run, extras=harvesting, settle=schedules.settled, go_on=schedules.go_on)
    unit = function.Function("harvest", steps={HARVEST: runner}, requests={schedules.LIST_REQUEST: run_listing.deliver})

    @Request.application
    def application(request: Request) -> Response:
        return unit.respond(request)

    repository = Repository()
    with serving() as upstream:
        repository.base, upstream.fallback = upstream.base, repository.answer
        yield Platform(database, environment, emitter, repository, upstream, Client(application))


@pytest.mark.parametrize("way", ["search", "oai-pmh"])
def test_every_record_is_harvested_once_and_only_what_changed_the_next_time(platform: Platform, way: str) -> None:
    platform.repository.fill(120, PAST)
    schedule = platform.schedule(way=way)
    run = platform.run_now(schedule)
    platform.work()
    assert platform.state(run) == "completed"
    assert platform.counts(run) == {"done": 120}
    assert platform.archives() == 120
    assert set(platform.answers) == {204}
    reached = platform.row("SELECT done_until FROM schedule WHERE id = :id", id=schedule)[0]
    assert datetime.now(UTC) - reached < timedelta(minutes=1)
    platform.repository.change("r00007", datetime.now(UTC) - timedelta(seconds=100), {"0.txt": b"other"})
    platform.repository.records["r00008"].updated = datetime.now(UTC) - timedelta(seconds=90)
    again = _next_run(platform, schedule)
    assert platform.state(again) == "completed"
    assert platform.counts(again) == {"done": 2}
    assert platform.archives() == 122


def _next_run(platform: Platform, schedule: UUID) -> UUID:
    with platform.engine.begin() as connection:
        moved = "UPDATE schedule SET done_until = done_until - interval '2 minutes' WHERE id = :id"
        connection.execute(text(moved), {"id": schedule})
    run = platform.run_now(schedule)
    platform.work()
    return run


def test_windows_overlap_and_what_is_known_is_an_event_instead_of_a_sip(platform: Platform) -> None:
    platform.repository.fill(5, datetime.now(UTC) - timedelta(minutes=5))
    schedule = platform.schedule()
    platform.run_now(schedule)
    platform.work()
    packages = platform.row("SELECT count(*) FROM package")[0]
    run = _next_run(platform, schedule)
    assert platform.counts(run) == {"unchanged": 5}
    assert platform.notes("unchanged: no new submission package") == 5
    assert platform.row("SELECT count(*) FROM package")[0] == packages
    assert platform.archives() == 5


def test_another_datestamp_with_the_same_content_is_no_new_sip(platform: Platform) -> None:
    platform.repository.fill(3, PAST)
    schedule = platform.schedule(way="oai-pmh")
    platform.run_now(schedule)
    platform.work()
    fixed = {recid: platform.repository.records[recid].updated.isoformat() for recid in ("r00000", "r00001")}
    now = datetime.now(UTC) - timedelta(seconds=30)
    for recid in fixed:
        kept = platform.repository.records[recid]
        value = platform.repository._record(kept)
        platform.upstream.add(f"/api/records/{recid}", Reply(json.dumps(value).encode()))
        kept.updated = now
    run = _next_run(platform, schedule)
    assert platform.counts(run) == {"unchanged": 2}
    assert platform.row("SELECT count(*) FROM package")[0] == 3


def test_a_window_with_too_many_hits_is_cut(platform: Platform) -> None:
    platform.repository.fill(10_040, PAST, step=timedelta(seconds=0), files=0)
    for index in range(200):
        platform.repository.records[f"r{index:05d}"].updated = PAST + timedelta(days=3)
    schedule = platform.schedule(record_limit=1)
    run = platform.run_now(schedule)
    platform.work()
    assert sum(platform.counts(run).values()) == 10_040
    batches = platform.row("SELECT count(*) FROM harvest_batch WHERE run_id = :run AND listed_at IS NOT NULL", run=run)
    assert batches[0] >= 2


def test_a_deleted_record_is_noted_and_nothing_of_ours_is_touched(platform: Platform) -> None:
    platform.repository.fill(2, PAST)
    schedule = platform.schedule(way="oai-pmh")
    platform.run_now(schedule)
    platform.work()
    gone = platform.repository.records["r00001"]
    gone.deleted, gone.updated = True, datetime.now(UTC) - timedelta(seconds=30)
    run = _next_run(platform, schedule)
    assert platform.counts(run) == {"deleted": 1}
    assert platform.notes("deleted upstream: our packages stay") == 1
    assert platform.archives() == 2


def test_a_record_of_which_only_a_tombstone_is_left_is_no_failure(platform: Platform) -> None:
    platform.repository.fill(2, PAST)
    schedule = platform.schedule()
    platform.run_now(schedule)
    platform.work()
    changed = platform.repository.records["r00001"]
    changed.revision, changed.updated = 2, datetime.now(UTC) - timedelta(seconds=30)
    stone = json.dumps({"tombstone": {"note": "withdrawn"}}).encode()
    platform.upstream.add("/api/records/r00001", Reply(stone, 410, {"Content-Type": "application/json"}))
    run = _next_run(platform, schedule)
    assert platform.counts(run) == {"deleted": 1}
    assert platform.notes("deleted upstream: our packages stay") == 2, "one with the tombstone, one with what we have"
    assert platform.row("SELECT count(*) FROM package")[0] == 2


def test_the_owner_of_a_schedule_sees_the_restricted_archives_it_makes(platform: Platform) -> None:
    platform.repository.fill(1, PAST)
    owner, stranger = new_id(), new_id()
    with platform.engine.begin() as connection:
        for account in (owner, stranger):
            row = {"id": account, "kind": "person", "issuer": "test", "subject": str(account), "name": "somebody"}
            connection.execute(insert(Account).values(row))
    schedule = platform.schedule()
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE schedule SET owner = :owner WHERE id = :id"), {"owner": owner, "id": schedule})
    platform.run_now(schedule)
    platform.work()
    (archive,) = platform.row("SELECT id FROM archive")
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true"))
        named = [(Thing.ARCHIVE, archive)]
        mine = Principal("owner", frozenset(), "token", owner)
        others = Principal("stranger", frozenset(), "token", stranger)
        assert rights.visible(connection, mine, named) == frozenset(named)
        assert not rights.visible(connection, others, named)


def test_an_owner_who_is_gone_holds_up_no_run(platform: Platform) -> None:
    platform.repository.fill(1, PAST)
    schedule = platform.schedule()
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE schedule SET owner = :owner"), {"owner": new_id()})
    run = platform.run_now(schedule)
    platform.work()
    assert platform.counts(run) == {"done": 1}


def test_a_limit_leaves_the_rest_to_the_next_run(platform: Platform) -> None:
    platform.repository.fill(10, PAST)
    schedule = platform.schedule(record_limit=6)
    first = platform.run_now(schedule)
    platform.work()
    assert platform.counts(first) == {"done": 6, "queued": 4}
    assert platform.state(first) == "completed"
    second = _next_run(platform, schedule)
    assert platform.counts(second) == {"done": 4}
    assert platform.archives() == 10


def test_no_more_items_at_a_time_than_allowed(platform: Platform) -> None:
    platform.repository.fill(20, PAST)
    run = platform.run_now(platform.schedule(concurrency=3))
    highest = 0
    while platform.emitter.queue:
        platform.work(1)
        highest = max(highest, platform.counts(run).get("running", 0))
    assert highest == 3
    assert platform.counts(run) == {"done": 20}


def test_failures_pause_a_run_and_a_retry_brings_it_to_its_end(platform: Platform) -> None:
    platform.repository.fill(30, PAST)
    for index in range(12):
        platform.upstream.add(f"/api/records/r{index:05d}", Reply(status=404))
    run = platform.run_now(platform.schedule(failures_at_least=5))
    platform.work()
    assert platform.state(run) == "paused"
    counts = platform.counts(run)
    assert counts["failed"] >= 5
    assert counts["queued"] > 0
    with platform.engine.begin() as connection:
        platform.emitter.emit(schedules.resume(connection, run))
    platform.work()
    platform.upstream.routes.clear()
    with platform.engine.begin() as connection:
        number, events = schedules.retry_failed(connection, run)
        assert number > 0
        if platform.state(run) == "paused":
            events += schedules.resume(connection, run)
    platform.emitter.emit(events)
    platform.work()
    if platform.state(run) == "paused":
        with platform.engine.begin() as connection:
            platform.emitter.emit(schedules.resume(connection, run))
        platform.work()
    assert platform.counts(run) == {"done": 30}
    assert platform.state(run) == "completed"
    assert platform.archives() == 30


def test_pause_resume_and_cancel(platform: Platform) -> None:
    platform.repository.fill(20, PAST)
    run = platform.run_now(platform.schedule(concurrency=2))
    platform.work(3)
    with platform.engine.begin() as connection:
        schedules.pause(connection, run)
    platform.work()
    before = platform.counts(run)
    assert before["queued"] > 10
    assert "running" not in before
    platform.tick()
    platform.work()
    assert platform.counts(run) == before
    with platform.engine.begin() as connection:
        platform.emitter.emit(schedules.resume(connection, run))
    platform.work(4)
    with platform.engine.begin() as connection:
        assert schedules.cancel(connection, run) > 0
    platform.work()
    assert platform.state(run) == "cancelled"
    assert set(platform.counts(run)) == {"done", "cancelled"}
    with platform.engine.begin() as connection, pytest.raises(Conflict):
        schedules.resume(connection, run)


def test_a_listing_that_fails_loses_no_window(platform: Platform) -> None:
    platform.repository.fill(3, PAST)
    schedule = platform.schedule()
    platform.upstream.add("/api/records", Reply(status=429, headers={"Retry-After": "77"}))
    run = platform.run_now(schedule)
    platform.work()
    assert platform.answers == {503: 1}
    row = platform.row("SELECT state, reason, look_at - clock_timestamp() FROM harvest_run WHERE id = :run", run=run)
    assert row[0] == "listing"
    assert "429" in row[1]
    assert timedelta(seconds=60) < row[2] <= timedelta(seconds=77)
    assert platform.row("SELECT done_until FROM schedule WHERE id = :id", id=schedule)[0] is None
    platform.upstream.routes.clear()
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE harvest_run SET look_at = clock_timestamp()"))
        connection.execute(text("UPDATE host_budget SET blocked_until = 0, tokens = burst"))
    platform.tick()
    platform.work()
    assert platform.counts(run) == {"done": 3}


def test_a_query_nobody_understands_waits_for_a_person(platform: Platform) -> None:
    platform.repository.fill(3, PAST)
    run = platform.run_now(platform.schedule(query="!("))
    platform.work()
    assert platform.state(run) == "paused"
    assert "query" in platform.row("SELECT reason FROM harvest_run WHERE id = :run", run=run)[0]


def test_records_that_change_while_they_are_listed_are_not_skipped(platform: Platform) -> None:
    platform.repository.fill(410, PAST, files=0)
    listed = platform.repository.answer

    def changing(path: str) -> Reply | None:
        reply = listed(path)
        if "page=1&" in path and "size=200" in path and "r00003" in platform.repository.records:
            del platform.repository.records["r00003"]
        return reply

    platform.upstream.fallback = changing
    run = platform.run_now(platform.schedule())
    platform.work()
    counts = platform.counts(run)
    assert counts["done"] == 409
    assert counts.get("failed", 0) <= 1


def test_a_due_schedule_begins_by_itself_and_once(platform: Platform) -> None:
    platform.repository.fill(2, PAST)
    schedule = platform.schedule()
    with platform.engine.begin() as connection:
        registry.put_state(connection, schedule, ScheduleState.ACTIVE, datetime.now(UTC) - timedelta(seconds=1))
    platform.tick()
    platform.tick()
    assert platform.row("SELECT count(*) FROM harvest_run")[0] == 1
    platform.work()
    assert platform.archives() == 2
    assert platform.row("SELECT next_at > clock_timestamp() FROM schedule")[0]


def test_a_paused_schedule_begins_nothing(platform: Platform) -> None:
    schedule = platform.schedule()
    with platform.engine.begin() as connection:
        registry.put_state(connection, schedule, ScheduleState.PAUSED, datetime.now(UTC) - timedelta(seconds=1))
    platform.tick()
    assert platform.row("SELECT count(*) FROM harvest_run")[0] == 0


def test_a_listing_without_room_for_its_connection_is_sent_again(platform: Platform) -> None:
    platform.repository.fill(2, PAST)
    vars(platform.environment).update(room=Room(1, wait=0))
    run = platform.run_now(platform.schedule())
    with platform.environment.room.entered() as inside:
        assert inside
        platform.work(1)
    assert platform.answers == {429: 1}
    assert platform.state(run) == "listing"


def test_a_lost_listing_request_is_asked_for_again(platform: Platform) -> None:
    platform.repository.fill(2, PAST)
    platform.run_now(platform.schedule())
    platform.emitter.queue.clear()
    platform.tick()
    assert platform.emitter.queue == []
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE harvest_run SET look_at = clock_timestamp()"))
    platform.tick()
    platform.work()
    assert platform.archives() == 2


def test_an_item_whose_archive_a_person_cancelled_does_not_hold_up_the_run(platform: Platform) -> None:
    platform.repository.fill(3, PAST)
    run = platform.run_now(platform.schedule(concurrency=1))
    platform.work(1)
    platform.emitter.queue.clear()
    with platform.engine.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'cancelled'"))
    platform.tick()
    platform.work()
    assert platform.counts(run) == {"cancelled": 1, "done": 2}
    assert platform.state(run) == "completed"


def test_closed_files_do_not_stop_a_run(platform: Platform) -> None:
    platform.repository.fill(3, PAST)
    kept = platform.repository.records["r00001"]
    value = platform.repository._record(kept)
    value["access"] = {"status": "embargoed", "embargo": {"active": True, "until": "2999-01-01"}}
    platform.upstream.add("/api/records/r00001", Reply(json.dumps(value).encode()))
    platform.upstream.add("/api/records/r00001/files", Reply(b"{}", 403))
    run = platform.run_now(platform.schedule())
    platform.work()
    assert platform.counts(run) == {"done": 2, "waiting": 1}
    assert platform.state(run) == "completed"


def test_the_relay_moves_schedules(platform: Platform) -> None:
    platform.repository.fill(1, PAST)
    schedule = platform.schedule()
    with platform.engine.begin() as connection:
        registry.put_state(connection, schedule, ScheduleState.ACTIVE, datetime.now(UTC) - timedelta(seconds=1))
    vars(platform.environment)["emitter"] = _Posting(platform.emitter)
    platform.emitter.emit(list(relay.tick(platform.environment)))
    vars(platform.environment)["emitter"] = platform.emitter
    platform.work()
    assert platform.archives() == 1


def test_a_duty_of_the_relay_that_breaks_leaves_the_others_to_be_done(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def breaking(_: object) -> None:
        raise ValueError("a mistake of ours")

    def well(_: object) -> None:
        done.append("well")

    every = timedelta(seconds=1)
    monkeypatch.setattr(relay, "duties_of", lambda _: (relay.Duty("a", every, breaking), relay.Duty("b", every, well)))
    assert relay.tick(platform.environment) == []
    assert done == ["well"]
    assert "a: ValueError" in caplog.text


@dataclass
class _Posting:
    inner: Emitter

    def post(self, event: CloudEvent) -> str | None:
        self.inner.queue.append(event)
        return None

    def emit(self, events: list[CloudEvent]) -> None:
        self.inner.emit(events)
