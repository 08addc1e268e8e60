"""From an outcome to what is recorded and told: one transaction, deterministic CloudEvents (architecture §3.4)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RootTransaction

from perdura import __version__
from perdura.cloudevents.build import build
from perdura.cloudevents.catalogue import request_type
from perdura.cloudevents.message import CloudEvent
from perdura.errors import PerduraError
from perdura.ids import derived_id
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.premis import agents, log, model
from perdura.recordable import recordable
from perdura.registry import outbox, units, work
from perdura.registry.transitions import ArchiveState
from perdura.runtime import metrics
from perdura.runtime.lost_together import lost_together

_log = logging.getLogger(__name__)

UNSUCCESSFUL = frozenset({StepState.FAILED, StepState.BLOCKED})

PREMIS_TYPES: Mapping[str, str] = {
    "harvest": "transfer",
    "ingest": "validation",
    "preserve": "creation",
    "archive": "replication",
    "recall": "recovery",
    "verify": "fixity check",
    "publish": "dissemination",
    "notify": "dissemination",
}
"""The event type that stands for a whole step when it failed before recording anything itself."""


def software_agent(function: str) -> model.Identifier:
    """This function as the executing agent of an event."""
    return model.Identifier("software", f"perdura/{__version__} {function}", ("executing program",))


def unsuccessful(error: PerduraError, state: StepState) -> Outcome:
    """The outcome of a step that was stopped by an error that is no transient one."""
    return Outcome(state=state, error_code=error.code, message=error.message)


def recordable_outcome(outcome: Outcome) -> Outcome:
    """The outcome without what no database can hold: titles and messages come from strangers. Paths of files are made
    safe before, and what a package tells was XML."""
    told = replace(outcome, files=(), told_events=(), told_agents=())
    made = recordable(told)
    if made is told:
        return outcome
    return replace(made, files=outcome.files, told_events=outcome.told_events, told_agents=outcome.told_agents)


def with_failure_event(outcome: Outcome, archive: ArchiveView, function: str, at: datetime) -> Outcome:
    """The outcome with at least one PREMIS event: no act goes unrecorded, failures least of all."""
    if outcome.state not in UNSUCCESSFUL or any(
        result.outcome == model.FAILURE for event in outcome.events for result in event.outcomes
    ):
        return outcome
    step = archive.step
    event = model.Event(
        id=derived_id("premis", step.id, step.attempt, "unsuccessful"),
        type=PREMIS_TYPES.get(step.name, step.name),
        at=at,
        details=(f"Step {step.name}, attempt {step.attempt}: {outcome.state}",),
        outcomes=(model.Outcome(model.FAILURE, (f"{outcome.error_code}: {outcome.message}",)),),
        agents=(software_agent(function),),
        objects=(model.Identifier("UUID", str(archive.id)),),
    )
    return replace(outcome, events=(*outcome.events, event))


@dataclass(frozen=True, slots=True)
class Closing:
    """A transaction in which steps are closed, made by `closing`."""

    connection: Connection
    _transaction: RootTransaction
    _closed: list[tuple[work.Started, Outcome]] = field(default_factory=list)

    def close(
        self, started: work.Started, outcome: Outcome, *, function: str, finished: CloudEvent | None
    ) -> list[CloudEvent]:
        """Record an outcome and return the CloudEvents it put into the outbox.

        `finished` is the CloudEvent that asked for it; a look has none, and one that found nothing new is not told of.
        Raises Conflict when the step is no longer in a state from which it may get there.
        """
        events = _record(self.connection, started, outcome, function, finished)
        if finished is not None or outcome.state is not StepState.WAITING:
            self._closed.append((started, outcome))
        return events

    def rollback(self) -> None:
        """Let nothing of it have happened."""
        self._transaction.rollback()


@contextmanager
def closing(connection: Connection) -> Iterator[Closing]:
    """A transaction on `connection`; the steps that are closed in it are counted and logged, each once it is committed.

    Whoever closes a step does it here: after a delivery, a look, or an outcome that could not be recorded.
    """
    with connection.begin() as transaction:
        made = Closing(connection, transaction)
        yield made
        committing = transaction.is_active
    if not committing:
        return
    for started, outcome in made._closed:
        _count(started, outcome)


def _count(started: work.Started, outcome: Outcome) -> None:
    archive, step = started.archive.id, started.archive.step
    metrics.add(metrics.STEPS, step=step.name, state=outcome.state)
    for package in outcome.packages:
        metrics.add(metrics.STORED_BYTES, package.size, kind=package.kind)
    _log.info("step %s", outcome.state, extra={"archive": archive, "step": step.id, "code": outcome.error_code})


def _record(
    connection: Connection, started: work.Started, outcome: Outcome, function: str, finished: CloudEvent | None
) -> list[CloudEvent]:
    now = datetime.now(UTC)
    archive, cause = started.archive, finished or started.cause
    outcome = with_failure_event(outcome, archive, function, now)
    following = work.close(connection, started, outcome)
    if outcome.units:
        units.put(connection, archive.step.id, outcome.units)
    if outcome.events:
        log.append(connection, outcome.events, actor=function)
    if outcome.told_events:
        log.append_free(connection, outcome.told_events, actor=function)
    for agent in outcome.told_agents:
        agents.register(connection, agent)
    events = [
        build(name, data, source=f"/perdura/{function}", at=now, archive=archive.id, cause=cause, key=key)
        for name, data, key in _told(started, outcome, following, now)
    ]
    outbox.write(connection, events, finished=(function, finished) if finished else None)
    lost_together(connection, archive, outcome.copies, function, now, cause)
    return events


def _told(
    started: work.Started, outcome: Outcome, following: work.Next, now: datetime
) -> list[tuple[str, Mapping[str, Any], object]]:
    archive, step = started.archive.id, started.archive.step
    told: list[tuple[str, Mapping[str, Any], object]] = []
    if following.step is not None and following.name is not None:
        continued = following.step == step.id
        attempt = step.attempt if continued else 1
        told.append(
            (
                request_type(following.name),
                {"archive": archive, "step": following.step, "attempt": attempt},
                (following.step, started.deliveries if continued else 0),
            )
        )
    told += [
        (request_type(step.name), {"archive": archive, "step": step.id, "unit": unit.key}, (step.id, unit.key))
        for unit in outcome.units
    ]
    told += [(fact.type, fact.data, (step.id, n)) for n, fact in enumerate(outcome.facts)]
    if outcome.state in UNSUCCESSFUL:
        told.append(("org.perdura.step.failed.v1", _failure(archive, step.id, step.name, outcome), step.id))
    if following.archive_state in {ArchiveState.COMPLETED, ArchiveState.COMPLETED_WITH_WARNINGS}:
        completed = {"archive": archive, "state": str(following.archive_state), "completed_at": now}
        told.append(("org.perdura.archive.completed.v1", completed, step.id))
    if outcome.events:
        recorded = {"archive": archive, "events": [event.id for event in outcome.events]}
        told.append(("org.perdura.premis.recorded.v1", recorded, (step.id, started.deliveries)))
    return told


def _failure(archive: UUID, step: UUID, name: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "archive": archive,
        "step": step,
        "name": name,
        "state": str(outcome.state),
        "code": outcome.error_code or "unknown",
        "message": (outcome.message or "")[:4000],
    }
