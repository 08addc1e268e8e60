"""Looking again at waiting steps, in bulk: one question to the outside system for all that are due.

Whatever goes wrong with one of them, by what a stranger wrote or by an error of ours, goes wrong with that one alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Connection

from perdura.cloudevents.message import CloudEvent
from perdura.database import passing
from perdura.errors import Broken
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.ports import Ports
from perdura.registry import work
from perdura.runtime import faults, metrics
from perdura.runtime.closing import closing, recordable_outcome, unsuccessful
from perdura.runtime.delivery import INTERNAL, INTERNAL_CODE, UNEXPECTED_LIMIT
from perdura.runtime.environment import Environment, TimeBudget

_log = logging.getLogger(__name__)

Poll = Callable[[Sequence[ArchiveView], Ports], Sequence[tuple[ArchiveView, Outcome]]]

TOGETHER = 100
"""Waiting steps that are taken on in one transaction, and looked at in one call."""

SECONDS = 60.0
"""For how long more of them are taken on in one tick."""

LOOK_SECONDS = work.LEASE / 3
"""Time budget of one look: it ends long before somebody else may take its steps on."""

FAILED_WAIT = 60.0
"""Seconds until a step is looked at again whose look came to nothing by an error of ours."""


def poll_waiting(
    environment: Environment,
    function: str,
    step: str,
    poll: Poll,
    needs: frozenset[str],
    *,
    taken: Callable[[Connection, Collection[ArchiveView]], None] = lambda _, __: None,
) -> list[CloudEvent]:
    """Look again at waiting steps whose time has come, in bulk; returns the CloudEvents to emit.

    Goes on for `SECONDS` while as many as `TOGETHER` were due. A step is looked at by one tick only, and no row is
    locked while the outside system is asked: a person who cancels does not wait for it. `taken` is told of the
    Archives, in the transaction that takes them on.
    """
    events: list[CloudEvent] = []
    end = time.monotonic() + SECONDS
    while True:
        with environment.engine.begin() as connection:
            rows = {started.archive.step.id: started for started in work.waiting(connection, step, TOGETHER)}
            if rows:
                taken(connection, [started.archive for started in rows.values()])
        if rows:
            events += _polled(environment, function, rows, poll, needs)
        if len(rows) < TOGETHER or time.monotonic() >= end:
            return events


def _polled(
    environment: Environment, function: str, rows: Mapping[UUID, work.Started], poll: Poll, needs: frozenset[str]
) -> list[CloudEvent]:
    views = [started.archive for started in rows.values()]
    budget = TimeBudget(min(LOOK_SECONDS, environment.settings.invocation_seconds))
    looked = _looked(views, poll, replace(environment.ports(views[0], function, needs), deadline=budget))
    faults.reach("look-after-effect")
    outcomes = [(rows[archive.step.id], outcome) for archive, outcome in looked if outcome is not None]
    events = _recorded(environment, outcomes, function)
    for archive, outcome in looked:
        if outcome is None:
            events += _failed(environment, rows[archive.step.id], function)
    faults.reach("look-after-commit")
    return events


def _looked(views: Sequence[ArchiveView], poll: Poll, ports: Ports) -> list[tuple[ArchiveView, Outcome | None]]:
    """The outcomes; None for a step that alone makes the look fail. Those that time does not suffice for have none."""
    try:
        return [*poll(views, ports)]
    except Exception as error:
        if passing(error):
            raise
        _log.exception("unforeseen", extra={"step": views[0].step.id, "steps": len(views)})
    if len(views) == 1:
        return [(views[0], None)]
    return [found for view in views if not ports.deadline.near() for found in _looked([view], poll, ports)]


def _recorded(
    environment: Environment, outcomes: Sequence[tuple[work.Started, Outcome]], function: str
) -> list[CloudEvent]:
    """Record outcomes of steps that are still ours, all in one transaction; each alone where one cannot be recorded."""
    try:
        with environment.engine.connect() as connection, closing(connection) as transaction:
            ours = work.still_waiting(connection, [started for started, _ in outcomes])
            return [
                event
                for started, outcome in outcomes
                if started.archive.step.id in ours
                for event in transaction.close(started, recordable_outcome(outcome), function=function, finished=None)
            ]
    except Exception as error:
        if passing(error):
            raise
        _log.exception("unrecordable", extra={"step": outcomes[0][0].archive.step.id, "steps": len(outcomes)})
    if len(outcomes) == 1:
        return _failed(environment, outcomes[0][0], function)
    return [event for each in outcomes for event in _recorded(environment, [each], function)]


def _failed(environment: Environment, started: work.Started, function: str) -> list[CloudEvent]:
    """A look that came to nothing by an error of ours is taken again, then left to a person."""
    step = started.archive.step.id
    with environment.engine.connect() as connection, closing(connection) as transaction:
        if step not in work.still_waiting(connection, [started]):
            return []
        if started.failed(INTERNAL_CODE) + 1 < UNEXPECTED_LIMIT:
            work.look_failed(connection, step, INTERNAL_CODE, FAILED_WAIT)
            metrics.add(metrics.RETRIES, step=started.archive.step.name, code=INTERNAL_CODE)
            return []
        blocked = unsuccessful(Broken(INTERNAL, code=INTERNAL_CODE), StepState.BLOCKED)
        return transaction.close(started, blocked, function=function, finished=None)
