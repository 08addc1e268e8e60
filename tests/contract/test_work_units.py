"""Work units through the runtime and a real PostgreSQL: in parallel, each once, the step once after the last."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.build import build
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.errors import StoreUnavailable
from perdura.outcome import UnitOutcome
from perdura.registry import deposits
from perdura.runtime import function, units
from perdura.runtime.delivery import StepRunner
from perdura.runtime.environment import Environment
from perdura.runtime.room import Room
from perdura.settings import Settings
from perdura.steps import ingest, ingest_units
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_archive, bag, with_tag_manifest

pytestmark = pytest.mark.stack

REQUESTED = "org.perdura.ingest.requested.v1"
_CHANCE = random.Random(5)
FILES = with_tag_manifest(bag({f"data/{n:03d}.bin": _CHANCE.randbytes(3_000) for n in range(40)}))


class World:
    """The ingest function and what it sent to the broker, delivered when the test says so."""

    def __init__(self, engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[CloudEvent] = []
        self.engine, self.store = engine, MemoryStore()
        settings = Settings(database_url=url, verify_unit_bytes=10_000)
        environment = Environment(settings)
        vars(environment).update(engine=engine, store=self.store, emitter=self, room=Room(20))
        self.environment = environment
        monkeypatch.setattr(function, "environment", lambda: environment)
        self.run_unit = ingest_units.run
        self.ingest = function.Function(
            "ingest",
            steps={REQUESTED: StepRunner("ingest", ingest.run)},
            units={REQUESTED: units.UnitRunner("ingest", lambda *arguments: self.run_unit(*arguments))},
        )

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        self.sent += events
        return response

    def post(self, event: CloudEvent) -> int:
        @Request.application
        def application(request: Request) -> Response:
            return self.ingest.respond(request)

        headers, body = encode_binary(event)
        with Client(application).post("/", headers=headers, data=body) as response:
            response.get_data()
            return response.status_code

    def begin(self, data: bytes) -> UUID:
        info = self.store.put("perdura-incoming", "bag.tar", data).info
        arrival = deposits.Arrival("perdura-incoming", "bag.tar", info.ref.version_id, info.ref.etag, info.size)
        with self.engine.begin() as connection:
            begun = deposits.receive(connection, arrival, source="/test")
        self.sent += begun.events
        return begun.archive

    def take(self) -> list[CloudEvent]:
        """The requests for ingest that are under way, off the wire."""
        taken = [event for event in self.sent if event.type == REQUESTED]
        self.sent = [event for event in self.sent if event.type != REQUESTED]
        return taken

    def rows(self, statement: str) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text(statement)))


@pytest.fixture
def world(database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(database, database_url, monkeypatch)


def planned(world: World) -> list[CloudEvent]:
    world.begin(as_archive(FILES, "tar"))
    (asked,) = world.take()
    assert world.post(asked) == 204
    assert world.rows("SELECT state FROM step WHERE name = 'ingest'")[0].state == "waiting"
    wanted = world.take()
    assert len(wanted) == len({event.data["unit"] for event in wanted}) > 10
    return wanted


def finished(world: World) -> None:
    (again,) = world.take()
    assert "unit" not in again.data
    assert world.post(again) == 204
    (step,) = world.rows("SELECT state, output FROM step WHERE name = 'ingest'")
    assert (step.state, step.output["verdict"]) == ("completed", "valid")


def test_units_run_in_parallel_and_the_last_one_asks_for_the_step_once(world: World) -> None:
    wanted = planned(world)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda e=event: answers.append(world.post(e))) for event in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {204}
    assert {row.state for row in world.rows("SELECT state FROM work_unit")} == {"completed"}
    finished(world)


def test_a_unit_without_room_for_its_connection_is_sent_again(world: World) -> None:
    first, *others = planned(world)
    vars(world.environment).update(room=Room(1, wait=0))
    with world.environment.room.entered() as inside:
        assert inside
        assert world.post(first) == 429
    assert {row.state for row in world.rows("SELECT state FROM work_unit")} == {"queued"}
    assert {world.post(event) for event in (first, *others)} == {204}
    finished(world)


def test_a_unit_delivered_twice_is_done_once(world: World) -> None:
    first, *others = planned(world)
    assert [world.post(first), world.post(first)] == [204, 204]
    assert world.take() == []
    for event in others:
        world.post(event)
    finished(world)


def test_the_timeline_shows_how_far_it_is(world: World) -> None:
    wanted = planned(world)
    for event in wanted[: len(wanted) // 2]:
        world.post(event)
    (step,) = world.rows("SELECT progress FROM step WHERE name = 'ingest'")
    assert step.progress["what"] == "verifying"
    assert 0 < step.progress["done"] < step.progress["total"]


def test_a_unit_is_continued_until_it_is_done(world: World) -> None:
    first, *others = planned(world)
    real, looks = ingest_units.run, iter([False, False, True])

    def in_parts(archive: Any, unit: Any, ports: Any) -> UnitOutcome:
        outcome = real(archive, unit, ports)
        return outcome if next(looks) else UnitOutcome(False, unit.checkpoint, {"done": 1})

    world.run_unit = in_parts
    event = first
    for _ in range(3):
        assert world.post(event) == 204
        following = world.take()
        assert len(following) <= 1
        event = following[0] if following else event
    world.run_unit = real
    for event in others:
        world.post(event)
    finished(world)


def test_a_store_that_is_down_delays_a_unit_only(world: World) -> None:
    first, *others = planned(world)

    def down(*_: Any) -> UnitOutcome:
        raise StoreUnavailable("down")

    real, world.run_unit = world.run_unit, down
    assert world.post(first) == 503
    world.run_unit = real
    for event in [first, *others]:
        assert world.post(event) == 204
    finished(world)


def test_an_outage_blocks_no_unit_until_it_has_lasted_too_long(world: World) -> None:
    first, *_ = planned(world)

    def down(*_: Any) -> UnitOutcome:
        raise StoreUnavailable("down")

    world.run_unit = down
    assert [world.post(first) for _ in range(25)] == [503] * 25
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE work_unit SET failing_since = failing_since - interval '2 days'"))
    assert world.post(first) == 204


def test_a_unit_that_cannot_be_done_is_left_to_a_person(world: World) -> None:
    first, *others = planned(world)
    real = world.run_unit

    def broken(*_: Any) -> UnitOutcome:
        raise RuntimeError("a defect of ours")

    world.run_unit = broken
    assert [world.post(first) for _ in range(3)] == [503, 503, 204]
    world.run_unit = real
    for event in others:
        world.post(event)
    (again,) = world.take()
    world.post(again)
    (step,) = world.rows("SELECT state, error_code FROM step WHERE name = 'ingest'")
    assert (step.state, step.error_code) == ("blocked", "internal-error")


def test_a_request_for_a_unit_that_was_lost_is_made_again(world: World) -> None:
    lost, *others = planned(world)
    for event in others:
        world.post(event)
    assert world.take() == []
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE work_unit SET run_at = clock_timestamp() - interval '1 minute'"))
    (step,) = world.rows("SELECT id, archive_id FROM step WHERE name = 'ingest'")
    watchdog = build(
        REQUESTED, {"archive": step.archive_id, "step": step.id}, source="/perdura/relay", at=datetime.now(UTC)
    )
    assert world.post(watchdog) == 204
    (asked,) = world.take()
    assert asked.data["unit"] == lost.data["unit"]
    assert asked.id != lost.id
    world.post(asked)
    finished(world)
