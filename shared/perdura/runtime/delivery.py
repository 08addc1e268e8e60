"""Delivery: one CloudEvent, one claim, one run of a step, one transaction (architecture §3).

A worker may be killed at any instruction. Before the commit nothing has happened but idempotent outside effects; after
it everything has, and the outbox remembers what the world must still hear.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from perdura.cloudevents.message import CloudEvent
from perdura.database import passing
from perdura.errors import Broken, Conflict, PerduraError, Rejected, Retryable, UpstreamUnavailable
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.ports import Ports
from perdura.registry import inbox, outbox, turns, work
from perdura.runtime import faults, metrics
from perdura.runtime.answers import Answer
from perdura.runtime.closing import Closing, closing, recordable_outcome, unsuccessful
from perdura.runtime.environment import Environment
from perdura.settings import Settings

_log = logging.getLogger(__name__)

Run = Callable[[ArchiveView, Ports], Outcome]
Extras = Callable[[Environment, ArchiveView], Mapping[str, Any]]
Settle = Callable[[Connection, ArchiveView, Outcome], Sequence[UUID]]
GoOn = Callable[[Environment, Sequence[UUID]], Sequence[CloudEvent]]

INTERNAL = "An internal error occurred; the operator's log has the details."

INTERNAL_CODE = "internal-error"

UNEXPECTED_LIMIT = 3
"""Runs in a row that may end in an error nobody foresaw before a person is asked."""

NO_ROOM_WAIT = 10.0
"""Seconds until a step is asked for again that found no room in this process."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """How one CloudEvent was answered, and the CloudEvents to emit once the answer is sent."""

    answer: Answer
    events: Sequence[CloudEvent] = ()
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class StepRunner:
    """Runs one step module for the function called `function`, with the adapters it `needs`.

    `settle` notes in the closing transaction what else the outcome decides (the item of a run); what it returns is
    handed to `go_on` after the commit, for what may follow at once and is found by the tick otherwise.
    """

    function: str
    run: Run
    needs: frozenset[str] = field(default_factory=frozenset)
    extras: Extras | None = None
    settle: Settle | None = None
    go_on: GoOn | None = None

    def deliver(self, environment: Environment, event: CloudEvent, step: UUID) -> Delivered:
        """Work on `event`, which asks for `step`: at most one worker at a time, at most once with effect."""
        try:
            with environment.room.entered() as inside:
                return self._deliver(environment, event, step) if inside else _without_room(environment, event, step)
        except IntegrityError:
            # The inbox row or a derived id was committed by another worker while we worked: it is done.
            _log.info("finished elsewhere", extra={"event": event.id, "step": step})
            return Delivered(Answer.BUSY, retry_after=1)
        except SQLAlchemyError as error:
            if not passing(error):
                raise
            _log.warning("database unavailable: %s", type(error).__name__, extra={"event": event.id})
            return Delivered(Answer.UNAVAILABLE, retry_after=5)

    def _deliver(self, environment: Environment, event: CloudEvent, step: UUID) -> Delivered:
        with environment.engine.connect() as connection, closing(connection) as transaction:
            claim = inbox.claim(connection, self.function, event, f"{inbox.STEP}{step}")
            metrics.add(metrics.CLAIMS, claim=claim)
            match claim:
                case inbox.Claim.BUSY:
                    return Delivered(Answer.BUSY)
                case inbox.Claim.FINISHED:
                    return Delivered(Answer.DONE)
                case inbox.Claim.OURS:
                    pass
            limit = environment.settings.archives_in_work
            with environment.engine.begin() as other:
                if limit and turns.hold(other, step, limit):
                    return Delivered(Answer.DONE)
                started = work.start(other, step, event)
            if started is None:
                outbox.write(connection, [], finished=(self.function, event))
                _log.info("not to be run any more", extra={"event": event.id, "step": step})
                return Delivered(Answer.DONE)
            faults.reach("before-effect")
            try:
                outcome = self._run(environment, started)
            except Retryable as error:
                transaction.rollback()
                return self._later(environment, started, error)
            faults.reach("after-effect")
            try:
                events, further = self._close(transaction, started, outcome, event)
            except Conflict as error:
                transaction.rollback()
                with environment.engine.begin() as other:
                    work.left_behind(other, step, outcome.checkpoint)
                _log.info("%s", error.message, extra={"event": event.id, "step": step})
                return Delivered(Answer.DONE)
            except Exception as error:
                if isinstance(error, IntegrityError) or passing(error):
                    raise
                transaction.rollback()
                return self._unrecordable(environment, started, event, error)
        faults.reach("after-commit")
        return Delivered(Answer.DONE, [*events, *self._go_on(environment, further)])

    def _close(
        self, transaction: Closing, started: work.Started, outcome: Outcome, event: CloudEvent
    ) -> tuple[list[CloudEvent], Sequence[UUID]]:
        outcome = recordable_outcome(outcome)
        events = transaction.close(started, outcome, function=self.function, finished=event)
        return events, self.settle(transaction.connection, started.archive, outcome) if self.settle else ()

    def _go_on(self, environment: Environment, further: Sequence[UUID]) -> Sequence[CloudEvent]:
        if self.go_on is None or not further:
            return ()
        try:
            return self.go_on(environment, further)
        except (SQLAlchemyError, PerduraError) as error:
            _log.warning("left to the tick: %s", type(error).__name__)
            return ()

    def _run(self, environment: Environment, started: work.Started) -> Outcome:
        """The step's own outcome, or what its error means; raises Retryable for what will pass."""
        archive = started.archive
        try:
            extras = self.extras(environment, archive) if self.extras else None
            outcome = self.run(archive, environment.ports(archive, self.function, self.needs, extras))
        except Retryable as error:
            if not _asked_to_wait(error) and _too_long(environment.settings, started, error.code):
                raised = Broken(f"{error.message} (tried {started.failed(error.code) + 1} times)", code=error.code)
                return unsuccessful(raised, StepState.BLOCKED)
            raise
        except Rejected as error:
            return unsuccessful(error, StepState.FAILED)
        except Broken as error:
            return unsuccessful(error, StepState.BLOCKED)
        except Exception as error:
            if passing(error):
                raise
            _log.exception("unforeseen", extra={"archive": archive.id, "step": archive.step.id})
            if started.failed(INTERNAL_CODE) + 1 >= UNEXPECTED_LIMIT:
                return unsuccessful(Broken(INTERNAL, code=INTERNAL_CODE), StepState.BLOCKED)
            raise Retryable(INTERNAL, code=INTERNAL_CODE) from error
        return self._getting_on(started, outcome)

    def _getting_on(self, started: work.Started, outcome: Outcome) -> Outcome:
        """The outcome, unless a whole invocation brought a continued step no further: that would never end."""
        if not work.stalled(started, outcome) or started.failed(work.NO_PROGRESS) + 1 < UNEXPECTED_LIMIT:
            return outcome
        message = "The step gets no further within the time budget of one invocation."
        return unsuccessful(Broken(message, code=work.NO_PROGRESS), StepState.BLOCKED)

    def _unrecordable(
        self, environment: Environment, started: work.Started, event: CloudEvent, error: Exception
    ) -> Delivered:
        """An outcome that cannot be recorded is our error: tried again, then left to a person, never lost."""
        _log.error("unrecordable", exc_info=error, extra={"archive": started.archive.id, "event": event.id})
        if started.failed(INTERNAL_CODE) + 1 < UNEXPECTED_LIMIT:
            return self._later(environment, started, Retryable(INTERNAL, code=INTERNAL_CODE))
        outcome = unsuccessful(Broken(INTERNAL, code=INTERNAL_CODE), StepState.BLOCKED)
        with environment.engine.connect() as connection, closing(connection) as transaction:
            events, _ = self._close(transaction, started, outcome, event)
        return Delivered(Answer.DONE, events)

    def _later(self, environment: Environment, started: work.Started, error: Retryable) -> Delivered:
        after = error.retry_after or min(2.0 ** min(started.failed(error.code) + 1, 8), 300.0)
        _log.warning("%s", error.message, extra={"archive": started.archive.id, "code": error.code})
        metrics.add(metrics.RETRIES, step=started.archive.step.name, code=error.code)
        with environment.engine.begin() as connection:
            counted = not _asked_to_wait(error)
            work.postpone(connection, started.archive.step.id, error.code, error.message, after, counted=counted)
        return Delivered(Answer.UNAVAILABLE, retry_after=after)


def without_room(event: CloudEvent) -> Delivered:
    """Have what keeps a connection as long as a step does, and found no room for it, sent again by the broker.

    Whatever waits for it asks for it again should the broker give it up.
    """
    metrics.add(metrics.CLAIMS, claim="no-room")
    _log.info("no room", extra={"event": event.id, "event_type": event.type})
    return Delivered(Answer.OVERLOADED, retry_after=NO_ROOM_WAIT)


def _without_room(environment: Environment, event: CloudEvent, step: UUID) -> Delivered:
    """Leave a step to the watchdog: a broker would give it up long before the steps that are under way are done."""
    metrics.add(metrics.CLAIMS, claim="no-room")
    _log.info("no room", extra={"event": event.id, "step": step})
    with environment.engine.begin() as connection:
        work.put_off(connection, step, NO_ROOM_WAIT)
    return Delivered(Answer.DONE)


def _too_long(settings: Settings, started: work.Started, code: str) -> bool:
    """Whether this failure has come too often, and for too long, to be left to pass.

    Both are asked for: brokers that deliver again at once spend any number of tries within the shortest outage.
    """
    often = started.failed(code) + 1 >= settings.retry_limit
    return often and started.failing_for(code) >= settings.retry_seconds


def _asked_to_wait(error: Retryable) -> bool:
    """Whether an upstream said when to come back: keeping to it is no failed try, however often it says so."""
    return isinstance(error, UpstreamUnavailable) and error.retry_after is not None
