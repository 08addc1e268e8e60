"""Looks at AIPs on their way to tape: each fails alone, and of two looks at one step only one counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from perdura.clients.fts_answers import FtsRefused
from perdura.ports import TapeJob
from perdura.registry import steering, tape_wishes, work
from perdura.runtime import tape
from perdura.steps import archive as archive_step
from tests.contract.test_tape_races import ready, states
from tests.contract.test_tape_registry import World

pytestmark = pytest.mark.stack


@pytest.fixture
def world(database: Engine) -> World:
    return world_of(database)


def world_of(database: Engine, **settings: Any) -> World:
    values = {"tape_gateway_url": None, "tape_gateway_secret": None, "tape_poll_seconds": 30} | settings
    made = World(database, **values)
    made.tape.fetch = lambda url: made.store.read(made.store.head("perdura-aips", url.split("/")[-1].split("?")[0]).ref)
    return made


def submitted(world: World, count: int) -> list[str]:
    """Archives whose job FTS has; gives back the jobs' ids."""
    ready(world, count)
    tape.tick(world.environment)
    return list(world.tape.states)


def meanwhile(world: World, act: Callable[[], Any]) -> None:
    """Act while the next look waits for FTS, which has given its answer before."""
    answer, left = world.tape.jobs, [act]

    def jobs(job_ids: Sequence[str], deadline: Any = None) -> Any:
        found = answer(job_ids)
        if left:
            left.pop()()
        return found

    world.tape.jobs = jobs  # type: ignore[method-assign]


def fail(world: World, job: str, reason: str) -> None:
    world.tape.states[job] = TapeJob(job, "failed", reason, recoverable="[110]" in reason, log_file=reason)


@pytest.mark.parametrize("character", ["\x00", "\ud800", "\x01", "\ufffe"])
def test_a_character_that_no_database_holds_keeps_no_other_aip_waiting(world: World, character: str) -> None:
    bad, *_ = submitted(world, 3)
    world.tape.tick()
    fail(world, bad, f"TRANSFER [5] disk {character} broken")
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 2, "blocked": 1}
    (row,) = world.rows("SELECT error_message FROM step WHERE state = 'blocked'")
    assert "disk" in row.error_message
    assert "broken" in row.error_message


def test_what_the_endpoint_says_may_hold_any_character(world: World) -> None:
    submitted(world, 2)
    world.tape.tick()
    path = next(iter(world.tape.places))
    world.tape.places[path] = replace(world.tape.places[path], on_tape=False, on_disk=True, error="no \x00 drive")
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 1, "waiting": 1}


def test_a_job_to_be_called_off_may_say_any_character(world: World) -> None:
    bad, *_ = submitted(world, 3)
    (first,) = world.rows("SELECT archive_id FROM tape_job WHERE job_id = :job", job=bad)
    world.tape.tick()
    with world.database.begin() as connection:
        steering.cancel(connection, first.archive_id, by="Ada")
    fail(world, bad, "TRANSFER [5] disk \x00 broken")
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 2, "cancelled": 1}
    (job,) = world.rows("SELECT ended_at, reason FROM tape_job WHERE job_id = :job", job=bad)
    assert job.ended_at is not None, "it is called off"
    assert "disk" in job.reason


def test_one_archive_that_cannot_be_recorded_is_shown_to_a_person_and_the_others_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, *others = submitted(world, 3)
    world.tape.tick()
    poll = archive_step.poll

    def with_an_event_of_another(archives: Sequence[Any], ports: Any) -> Any:
        outcomes = list(poll(archives, ports))
        return [(view, replace(o, output={"tape": object()}) if view.step.id == bad else o) for view, o in outcomes]

    (bad,) = world.rows("SELECT id FROM step ORDER BY id LIMIT 1")[0]
    monkeypatch.setattr(archive_step, "poll", with_an_event_of_another)
    found = []
    for _ in range(3):
        world.due()
        tape.tick(world.environment)
        found.append(states(world))
    assert found[0] == found[1] == {"completed": len(others), "waiting": 1}
    assert found[2] == {"completed": len(others), "blocked": 1}
    (row,) = world.rows("SELECT error_code, error_message FROM step WHERE state = 'blocked'")
    assert row.error_code == "internal-error"
    assert "log" in row.error_message


def test_a_look_that_one_archive_makes_fail_is_taken_at_each_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(world, 3)
    world.tape.tick()
    (bad,) = world.rows("SELECT id FROM step ORDER BY id LIMIT 1")[0]
    poll = archive_step.poll

    def fails(archives: Sequence[Any], ports: Any) -> Any:
        if bad in {view.step.id for view in archives}:
            raise TypeError("nobody thought of this")
        return poll(archives, ports)

    monkeypatch.setattr(archive_step, "poll", fails)
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 2, "waiting": 1}


@pytest.mark.parametrize("error", [TypeError("nobody thought of this"), OperationalError("SELECT", None, OSError())])
@pytest.mark.parametrize("duty", ["perdura.runtime.tape_left.call_off", "perdura.runtime.tape.drill"])
def test_a_duty_that_fails_keeps_no_aip_waiting(
    database: Engine, duty: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(database, tape_drill_days=1)
    submitted(world, 2)
    world.tape.tick()

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(duty, fails)
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 2}


def test_an_answer_that_came_after_another_look_had_acted_changes_nothing(world: World) -> None:
    first, *_ = submitted(world, 3)

    def other_look() -> None:
        fail(world, first, "TRANSFER [110] timed out")
        world.due()
        tape.tick(world.environment)

    meanwhile(world, other_look)
    world.due()
    tape.tick(world.environment)
    rounds = sorted(row.checkpoint["round"] for row in world.rows("SELECT checkpoint FROM step"))
    assert rounds == [1, 1, 2], "the older answer did not set it back"
    (job,) = world.rows("SELECT state, ended_at FROM tape_job WHERE job_id = :job", job=first)
    assert (job.state, job.ended_at is None) == ("failed", False)
    world.tape.tick()
    for _ in range(2):
        world.due()
        tape.tick(world.environment)
        world.tape.tick()
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 3}


def test_another_priority_asked_for_during_a_look_makes_no_second_look_beside_it(world: World) -> None:
    first, *_ = submitted(world, 3)
    beside = []

    def a_person_and_the_next_tick() -> None:
        with world.database.begin() as connection:
            tape_wishes.prioritise(connection, UUID(first), 5)
        world.tape.jobs = lambda job_ids, _: beside.append(job_ids) or {}  # type: ignore[func-returns-value, method-assign]
        tape.tick(world.environment)
        del vars(world.tape)["jobs"]

    meanwhile(world, a_person_and_the_next_tick)
    world.due()
    tape.tick(world.environment)
    assert beside == [], "the step is held by the first look"
    assert first not in world.tape.priorities
    tape.tick(world.environment)
    assert world.tape.priorities == {first: 5}, "and is looked at right after it"


def test_what_was_refused_takes_the_place_of_no_other(database: Engine) -> None:
    world = world_of(database, tape_jobs_in_flight=2)
    ready(world, 3)
    with database.begin() as connection:
        taken = work.waiting(connection, "archive", 10)
    *refused, last = [replace(each.archive, step=replace(each.archive.step, checkpoint={})) for each in taken]
    world.tape.refuse = FtsRefused("FTS answered 400: no such storage", 400)
    for view in refused:
        with pytest.raises(FtsRefused):
            archive_step.run(view, world.environment.ports(view, "archive-cta", frozenset({"tape"})))
    world.tape.refuse = None
    outcome = archive_step.run(last, world.environment.ports(last, "archive-cta", frozenset({"tape"})))
    assert outcome.output["tape"]["waiting_for"] == "submitted"
    rows = world.rows("SELECT ended_at FROM tape_job")
    assert sum(row.ended_at is None for row in rows) == 1
