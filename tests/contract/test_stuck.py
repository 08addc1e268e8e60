"""Steps that get no further: the watchdog asks for them again, and the gauge does not take that for progress."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.outcome import Outcome, StepState
from perdura.registry import archives, deposits, duties, inbox, turns, work
from perdura.runtime import metrics, queues

pytestmark = pytest.mark.stack

HOURS = 3 * 3600.0


def queued(database: Engine) -> UUID:
    """A step that was asked for three hours ago."""
    with database.begin() as connection:
        arrival = deposits.Arrival("perdura-incoming", str(new_id()), None, "e", 1)
        [asked] = deposits.receive(connection, arrival, source="/test").events
        step = UUID(asked.data["step"])
        long_ago(connection, step)
    return step


def long_ago(connection: Any, step: UUID) -> None:
    connection.execute(
        text("""
            UPDATE step SET progress_at = now() - interval '3 hours', updated_at = now() - interval '3 hours',
                poll_at = now() - interval '1 minute' WHERE id = :step
        """),
        {"step": step},
    )


def begun(database: Engine, step: UUID) -> work.Started:
    with database.begin() as connection:
        started = work.start(connection, step, CloudEvent(id=str(new_id()), source="/t", type="t", data={}))
    assert started is not None
    return started


def close(database: Engine, started: work.Started, outcome: Outcome) -> None:
    with database.begin() as connection:
        work.close(connection, started, outcome)


def age(database: Engine, state: str) -> float:
    with database.connect() as connection:
        [found] = [
            value
            for metric, labels, value in queues.waiting(connection)
            if metric is metrics.STEPS_AGE and labels == {"step": "ingest", "state": state}
        ]
    return found


def overdue(database: Engine, step: UUID) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET poll_at = now() WHERE id = :step"), {"step": step})


@pytest.mark.parametrize("state", ["queued", "running", "waiting"])
def test_what_the_watchdog_asks_for_again_has_not_got_on(state: str, database: Engine) -> None:
    step = queued(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET state = :state WHERE id = :step"), {"state": state, "step": step})
    for _ in range(3):
        overdue(database, step)
        with database.begin() as connection:
            assert len(duties.ask_again(connection, "/relay")) == 1
        assert age(database, state) >= HOURS


def test_a_step_that_is_worked_on_is_not_asked_for_until_its_claim_is_free(database: Engine) -> None:
    step = queued(database)
    event = CloudEvent(id=str(new_id()), source="/t", type="t", data={})
    with database.connect() as worker, worker.begin():
        assert inbox.claim(worker, "ingest", event, f"{inbox.STEP}{step}") is inbox.Claim.OURS
        begun(database, step)
        for _ in range(3):
            overdue(database, step)
            with database.begin() as connection:
                assert duties.ask_again(connection, "/relay") == []
    overdue(database, step)
    with database.begin() as connection:
        assert len(duties.ask_again(connection, "/relay")) == 1


def test_a_step_is_counted_as_blocked_until_a_person_deals_with_it(database: Engine) -> None:
    def blocked() -> list[float]:
        with database.connect() as connection:
            found = queues.waiting(connection)
        return [
            number for metric, labels, number in found if metric is metrics.STEPS_OPEN and "blocked" in labels.values()
        ]

    started = begun(database, queued(database))
    assert blocked() == []
    close(database, started, Outcome(StepState.BLOCKED, error_code="store-unavailable", message="It is away."))
    assert blocked() == [1]
    with database.begin() as connection:
        archives.retry(connection, started.archive.id)
    assert blocked() == []


def test_a_step_that_is_begun_again_and_again_and_fails_has_not_got_on(database: Engine) -> None:
    step = queued(database)
    for _ in range(3):
        started = begun(database, step)
        assert age(database, "running") >= HOURS
        with database.begin() as connection:
            work.postpone(connection, started.archive.step.id, "store-unavailable", "It is away.", 5)
        assert age(database, "queued") >= HOURS


def test_a_step_whose_worker_dies_at_the_same_place_each_time_gets_on_once(database: Engine) -> None:
    step = queued(database)
    for death in range(3):
        begun(database, step)
        for done in (0, 10, 20):
            with database.begin() as connection:
                work.note_progress(connection, step, "verifying", done, 100)
            assert (age(database, "running") < HOURS) is (death == 0)
        with database.begin() as connection:
            long_ago(connection, step)
    with database.begin() as connection:
        work.note_progress(connection, step, "verifying", 21, 100)
    assert age(database, "running") < HOURS


@pytest.mark.parametrize(("checkpoint", "got_on"), [({}, False), ({"at": 7}, True)])
def test_a_continued_step_gets_on_by_its_checkpoint(checkpoint: dict[str, int], got_on: bool, database: Engine) -> None:
    step = queued(database)
    close(database, begun(database, step), Outcome(StepState.QUEUED, checkpoint=checkpoint))
    assert (age(database, "queued") < HOURS) is got_on


def test_a_look_that_finds_nothing_new_is_no_progress_of_what_waits(database: Engine) -> None:
    step = queued(database)
    ages = []
    for phase, looks in (("submitted", 1), ("submitted", 2), ("on-disk", 3)):
        waits = Outcome(StepState.WAITING, output={"tape": {"waiting_for": phase}}, checkpoint={"looks": looks})
        close(database, begun(database, step), waits)
        ages.append(age(database, "waiting"))
        with database.begin() as connection:
            long_ago(connection, step)
    assert [found < HOURS for found in ages] == [True, False, True]


def test_what_waits_for_its_turn_is_told_apart_and_gets_on_by_it(database: Engine) -> None:
    working, held = queued(database), queued(database)
    with database.begin() as connection:
        assert turns.hold(connection, held, 1)
    assert age(database, "turn") >= HOURS
    close(database, begun(database, working), Outcome(StepState.FAILED))
    with database.begin() as connection:
        assert len(turns.give(connection, 1, "/relay")) == 1
    assert age(database, "queued") < HOURS


def test_another_attempt_begins_with_progress(database: Engine) -> None:
    step = queued(database)
    started = begun(database, step)
    close(database, started, Outcome(StepState.BLOCKED, error_code="x"))
    with database.begin() as connection:
        archives.retry(connection, started.archive.id)
    assert age(database, "queued") < HOURS
