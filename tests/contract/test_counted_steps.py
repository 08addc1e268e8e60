"""Every step that is closed is counted and logged once, whoever closes it: a delivery, a look, or what went wrong."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from perdura.outcome import ArchiveView, Outcome
from perdura.ports import Ports
from perdura.registry import steering
from perdura.runtime import metrics, tape
from perdura.runtime.closing import Closing
from perdura.steps import archive as archive_step
from tests.contract.delivering import Harness, post, success
from tests.contract.test_tape_looks import fail, submitted, world_of
from tests.contract.test_tape_races import states

pytestmark = pytest.mark.stack


class Told:
    """What was counted, and the lines of closed steps in the log."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, ...]] = Counter()
        self.lines: list[logging.LogRecord] = []

    def add(self, metric: metrics.Metric, amount: float = 1, **labels: str) -> None:
        self.counted[metric.name, *(str(labels[label]) for label in metric.labels)] += int(amount)

    def steps(self, step: str) -> dict[str, int]:
        return {key[2]: n for key, n in self.counted.items() if key[:2] == ("perdura_steps_total", step)}

    def logged(self) -> Counter[str]:
        return Counter(line.getMessage().removeprefix("step ") for line in self.lines)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Told]:
    made = Told()
    monkeypatch.setattr(metrics, "add", made.add)

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "step %s":
                made.lines.append(record)

    handler, logger = Lines(), logging.getLogger("perdura")
    caplog.set_level(logging.INFO, logger="perdura")
    logger.addHandler(handler)
    yield made
    logger.removeHandler(handler)


def test_what_becomes_of_tape_is_counted_and_logged(database: Engine, told: Told) -> None:
    world = world_of(database)
    bad, *_ = submitted(world, 3)
    world.tape.tick()
    fail(world, bad, "TRANSFER [5] disk broken")
    world.due()
    tape.tick(world.environment)
    assert states(world) == {"completed": 2, "blocked": 1}
    assert told.steps("archive") == told.logged() == {"completed": 2, "blocked": 1}
    assert all({"archive", "step", "code"} <= set(vars(line)) for line in told.lines)


def test_looks_that_find_nothing_new_are_not_told_of(database: Engine, told: Told) -> None:
    world = world_of(database)
    submitted(world, 2)
    for _ in range(3):
        world.due()
        tape.tick(world.environment)
    assert states(world) == {"waiting": 2}
    assert told.steps("archive") == told.logged() == {}


def test_steps_of_a_look_that_cannot_be_recorded_together_are_counted_once_each(
    database: Engine, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = world_of(database)
    submitted(world, 3)
    world.tape.tick()
    (bad,) = world.rows("SELECT id FROM step ORDER BY id LIMIT 1")[0]
    poll = archive_step.poll

    def unrecordable(archives: Sequence[Any], ports: Any) -> Any:
        outcomes = list(poll(archives, ports))
        return [(view, replace(o, output={"tape": object()}) if view.step.id == bad else o) for view, o in outcomes]

    monkeypatch.setattr(archive_step, "poll", unrecordable)
    for _ in range(3):
        world.due()
        tape.tick(world.environment)
    assert told.steps("archive") == told.logged() == {"completed": 2, "blocked": 1}
    assert told.counted["perdura_retries_total", "archive", "internal-error"] == 2


def test_a_delivered_step_and_its_packages_are_counted_once(harness: Harness, told: Told) -> None:
    _, asked = harness.begin()
    for _ in range(2):
        assert post(harness.function(), asked).status_code == 204
    assert told.steps("ingest") == told.logged() == {"completed": 1}
    assert told.counted["perdura_stored_bytes_total", "SIP"] == 1


def test_a_step_whose_outcome_cannot_be_recorded_is_counted_as_blocked(harness: Harness, told: Told) -> None:
    def unrecordable(archive: ArchiveView, ports: Ports) -> Outcome:
        return replace(success(archive, ports), output={"odd": object()})

    harness.run = unrecordable
    _, asked = harness.begin()
    answers = [post(harness.function(), asked).status_code for _ in range(3)]
    assert answers == [503, 503, 204]
    assert told.steps("ingest") == told.logged() == {"blocked": 1}
    assert ("perdura_stored_bytes_total", "SIP") not in told.counted


def test_what_was_not_committed_is_not_counted(harness: Harness, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, asked = harness.begin()

    def cancelled_meanwhile(view: ArchiveView, ports: Ports) -> Outcome:
        with harness.engine.begin() as connection:
            steering.cancel(connection, archive, by="Ada")
        return success(view, ports)

    harness.run = cancelled_meanwhile
    assert post(harness.function(), asked).status_code == 204
    assert told.steps("ingest") == told.logged() == {}

    close = Closing.close

    def closes_and_loses_the_database(self: Closing, *arguments: Any, **named: Any) -> Any:
        event.listen(self.connection, "commit", lost)
        return close(self, *arguments, **named)

    def lost(_: Any) -> None:
        raise OperationalError("COMMIT", None, OSError())

    monkeypatch.setattr(Closing, "close", closes_and_loses_the_database)
    harness.run = None
    _, asked = harness.begin()
    assert post(harness.function(), asked).status_code == 503
    assert told.steps("ingest") == told.logged() == {}
