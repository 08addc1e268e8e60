"""Tape under the runtime: ticks side by side, workers that die between asking and recording, recalls in many parts."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.registry import archives, steering
from perdura.registry.tape_jobs import RegistryTapeJobs
from perdura.runtime import environment as environments
from perdura.runtime import tape
from perdura.runtime.answers import Answer
from perdura.runtime.delivery import StepRunner
from perdura.steps import recall, recall_reading
from perdura.storage import kept_open
from tests.contract.test_tape_registry import World

pytestmark = pytest.mark.stack


def ready(world: World, count: int) -> None:
    """Archives whose AIP is to be submitted at the next look."""
    made = [world.aip(bytes([number]) * 500) for number in range(count)]
    for archive, package in made:
        world.waits_for_company(archive, package, timedelta(hours=2))
    with world.database.begin() as connection:
        connection.execute(
            text("""UPDATE step SET checkpoint = checkpoint || jsonb_build_object('size', package.size,
                        'adler32', package.checksums ->> 'adler32')
                    FROM package WHERE package.archive_id = step.archive_id""")
        )
    world.due()


def states(world: World) -> Counter[str]:
    return Counter(row.state for row in world.rows("SELECT state FROM step WHERE name = 'archive'"))


@pytest.fixture
def world(database: Engine) -> World:
    made = World(database, tape_gateway_url=None, tape_gateway_secret=None, tape_poll_seconds=30)
    made.tape.fetch = lambda url: made.store.read(made.store.head("perdura-aips", url.split("/")[-1].split("?")[0]).ref)
    return made


def test_a_person_who_cancels_does_not_wait_for_an_fts_that_hangs(world: World) -> None:
    ready(world, 1)
    (archive,) = world.rows("SELECT id FROM archive")
    asked, answered = threading.Event(), threading.Event()
    submit = world.tape.submit

    def hangs(request: Any) -> str:
        asked.set()
        answered.wait(30)
        return submit(request)

    world.tape.submit = hangs  # type: ignore[method-assign]
    ticking = threading.Thread(target=tape.tick, args=(world.environment,))
    ticking.start()
    assert asked.wait(10)
    with world.database.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = '2s'"))
        steering.cancel(connection, archive.id, by="Ada")
    answered.set()
    ticking.join()
    assert states(world) == {"cancelled": 1}, "what the tick learned meanwhile changes nothing"
    tape.tick(world.environment)
    (job,) = world.rows("SELECT state, cancelled_by, ended_at FROM tape_job")
    assert (job.state, job.cancelled_by) == ("cancelled", "Ada"), "and the job it asked for is called off"
    assert job.ended_at is not None


def test_one_tick_looks_at_all_that_are_due(world: World) -> None:
    ready(world, 250)
    tape.tick(world.environment)
    assert len(world.tape.submissions) == 250


def test_ticks_side_by_side_ask_for_each_aip_once(world: World) -> None:
    ready(world, 30)
    together = threading.Barrier(4)
    failures: list[BaseException] = []

    def tick() -> None:
        together.wait()
        try:
            for _ in range(3):
                tape.tick(world.environment)
        except BaseException as error:
            failures.append(error)

    def all_at_once() -> None:
        threads = [threading.Thread(target=tick) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_at_once()
    assert failures == []
    assert len(world.tape.submissions) == len(set(world.tape.submissions)) == 30
    world.tape.tick()
    world.due()
    all_at_once()
    assert failures == []
    assert states(world) == {"completed": 30}
    per_archive = world.rows("SELECT count(*) AS n FROM copy WHERE location = 'tape' GROUP BY package_id")
    assert [row.n for row in per_archive] == [1] * 30
    confirmed = world.rows("SELECT xml FROM premis_log WHERE xml LIKE '%>replication<%'")
    assert len(confirmed) == 30


@pytest.mark.parametrize("moment", ["admitted", "submitted", "accepted"])
def test_a_worker_that_dies_while_it_submits_leaves_one_job(
    world: World, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the note of the intent, FTS's answer, the note of the answer and the record of the step."""
    ready(world, 3)
    place = {"admitted": (world.tape, "submit"), "submitted": (RegistryTapeJobs, "accepted")}

    def dies(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "accepted":
            patch.setattr("perdura.runtime.closing.Closing.close", dies)
        else:
            patch.setattr(*place[moment], dies)
        with pytest.raises(KeyboardInterrupt):
            tape.tick(world.environment)
    assert states(world) == {"waiting": 3}, "nothing was recorded"
    tape.tick(world.environment)
    assert len(world.tape.submissions) <= 3, "the steps are still those of the worker that died"
    world.due()
    tape.tick(world.environment)
    assert len(world.tape.states) == 3, "one job each, however often it was asked for"
    rows = world.rows("SELECT key, job_id, state FROM tape_job")
    assert {row.job_id for row in rows} == set(world.tape.states)
    world.tape.tick()
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 3}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a kilobyte, and invocations that end after some of them."""
    looks = itertools.count(1)
    budget = SimpleNamespace(near=lambda: next(looks) % 7 == 0)
    monkeypatch.setattr(recall_reading, "UNKEPT", 1024)
    monkeypatch.setattr(kept_open, "_SMALLEST_PART", 1024)
    monkeypatch.setattr(environments, "TimeBudget", lambda _: budget)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("dies_at", [None, 2])
def test_a_recall_goes_on_from_delivery_to_delivery(world: World, dies_at: int | None) -> None:
    content = bytes(range(256)) * 100
    archive, package = world.aip(content, on_tape=True)
    with world.database.begin() as connection:
        asked = list(archives.recall(connection, archive).events)
    runner = StepRunner("archive-cta", recall.run, frozenset({"tape"}))
    read, offsets = world.tape.read, []

    def noted(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        offsets.append(offset)
        if dies_at is not None and len(offsets) == dies_at + 1:
            raise KeyboardInterrupt
        yield from read(path, offset, length)

    world.tape.read = noted  # type: ignore[method-assign]
    deliveries = 0
    while asked:
        event = asked.pop(0)
        if event.type != "org.perdura.recall.requested.v1":
            continue
        deliveries += 1
        assert deliveries < 30
        try:
            done = runner.deliver(world.environment, event, UUID(event.data["step"]))
        except KeyboardInterrupt:
            asked.insert(0, event)
            continue
        assert done.answer is Answer.DONE
        again = runner.deliver(world.environment, event, UUID(event.data["step"]))
        assert (again.answer, list(again.events)) == (Answer.DONE, []), "a second delivery does nothing"
        asked += done.events
    (step,) = world.rows("SELECT state, output FROM step WHERE name = 'recall'")
    assert step.state == "completed"
    found = step.output["recall"]
    assert world.store.read(world.store.head(found["bucket"], found["key"]).ref) == content
    assert len(offsets) > 3
    assert len(set(offsets)) == len(offsets) - (dies_at is not None), "only what was not recorded is read again"
    events = world.rows("SELECT xml FROM premis_log")
    assert len(events) == 2
    with world.database.connect() as connection:
        verified = connection.execute(text("SELECT verified_at FROM copy WHERE package_id = :id"), {"id": package})
        assert verified.scalar_one() is not None
