"""Delivery of a CloudEvent that asks for one work unit of a step: as `delivery` does for the step itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from perdura.cloudevents.message import CloudEvent
from perdura.database import passing
from perdura.errors import Broken, Conflict, PerduraError, Rejected, Retryable
from perdura.outcome import ArchiveView, UnitOutcome, WorkUnit
from perdura.ports import Ports
from perdura.registry import inbox, outbox, units
from perdura.runtime import faults, metrics
from perdura.runtime.answers import Answer
from perdura.runtime.delivery import INTERNAL, UNEXPECTED_LIMIT, Delivered, without_room
from perdura.runtime.environment import Environment

_log = logging.getLogger(__name__)

RunUnit = Callable[[ArchiveView, WorkUnit, Ports], UnitOutcome]


@dataclass(frozen=True, slots=True)
class UnitRunner:
    """Runs the units of a step for the function called `function`."""

    function: str
    run: RunUnit

    def deliver(self, environment: Environment, event: CloudEvent, step: UUID, key: str) -> Delivered:
        """Work on `event`, which asks for one unit: at most one worker at a time, at most once with effect."""
        try:
            with environment.room.entered() as inside:
                return self._deliver(environment, event, step, key) if inside else without_room(event)
        except IntegrityError:
            return Delivered(Answer.BUSY, retry_after=1)
        except SQLAlchemyError as error:
            if not passing(error):
                raise
            _log.warning("database unavailable: %s", type(error).__name__, extra={"event": event.id})
            return Delivered(Answer.UNAVAILABLE, retry_after=5)

    def _deliver(self, environment: Environment, event: CloudEvent, step: UUID, key: str) -> Delivered:
        with environment.engine.connect() as connection, connection.begin() as transaction:
            claim = inbox.claim(connection, self.function, event, f"unit {step} {key}")
            metrics.add(metrics.CLAIMS, claim=claim)
            if claim is inbox.Claim.BUSY:
                return Delivered(Answer.BUSY)
            if claim is inbox.Claim.FINISHED:
                return Delivered(Answer.DONE)
            with environment.engine.begin() as other:
                started = units.start(other, step, key)
            if started is None:
                outbox.write(connection, [], finished=(self.function, event))
                return Delivered(Answer.DONE)
            faults.reach("unit-before-effect")
            try:
                outcome = self._run(environment, started)
            except Retryable as error:
                transaction.rollback()
                return self._later(environment, started, error)
            faults.reach("unit-after-effect")
            try:
                events = units.close(connection, started, outcome, function=self.function, finished=event)
            except Conflict:
                transaction.rollback()
                return Delivered(Answer.DONE)
        faults.reach("unit-after-commit")
        _log.info("unit %s", key, extra={"archive": started.archive.id, "step": step, "done": outcome.done})
        return Delivered(Answer.DONE, events)

    def _run(self, environment: Environment, started: units.StartedUnit) -> UnitOutcome:
        """What the unit did, or the error that the step has to answer for; raises Retryable for what will pass."""
        archive = started.archive
        ports = environment.ports(archive, self.function, frozenset())
        ports = replace(ports, progress=environment.unit_progress(archive, started.key))
        try:
            return self.run(archive, WorkUnit(started.key, started.checkpoint), ports)
        except Retryable as error:
            settings = environment.settings
            if started.attempts < settings.retry_limit or started.failing_for < settings.retry_seconds:
                raise
            return _failed(started, error)
        except (Rejected, Broken) as error:
            return _failed(started, error)
        except Exception as error:
            if passing(error):
                raise
            _log.exception("unforeseen", extra={"archive": archive.id, "unit": started.key})
            if started.attempts >= UNEXPECTED_LIMIT:
                return _failed(started, Broken(INTERNAL, code="internal-error"))
            raise Retryable(INTERNAL, code="internal-error") from error

    def _later(self, environment: Environment, started: units.StartedUnit, error: Retryable) -> Delivered:
        after = error.retry_after or min(2.0 ** min(started.attempts, 8), 300.0)
        _log.warning("%s", error.message, extra={"archive": started.archive.id, "code": error.code})
        metrics.add(metrics.RETRIES, step=started.archive.step.name, code=error.code)
        with environment.engine.begin() as connection:
            units.postpone(connection, started.archive.step.id, started.key, after)
        return Delivered(Answer.UNAVAILABLE, retry_after=after)


def _failed(started: units.StartedUnit, error: PerduraError) -> UnitOutcome:
    """A unit that cannot be done: the step is asked to say so."""
    return UnitOutcome(
        done=True, checkpoint=started.checkpoint, result={"error": {"code": error.code, "message": error.message}}
    )
