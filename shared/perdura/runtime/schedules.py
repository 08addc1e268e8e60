"""Recurring harvests on the move: schedules begin runs, runs start items, finished harvests settle them.

Whoever finishes an item starts the next one at once; the tick begins what is due and finds what went astray. Nothing is
decided here: `steps.harvest_schedule` decides, the registry guards.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from perdura.accounts import audit, rights
from perdura.accounts.principals import Principal
from perdura.cloudevents.build import build
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict
from perdura.ids import derived_id, new_id
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.premis import log
from perdura.registry import archives, outbox, runs, schedules
from perdura.registry.run_states import OPEN_RUNS, ItemState, RunState, ScheduleState
from perdura.runtime.environment import Environment
from perdura.sources.plan import UpstreamDeleted
from perdura.steps import harvest_run_events
from perdura.steps.harvest_cron import parse
from perdura.steps.harvest_schedule import Advance, Counts, Cursor, Item, Limits, advance, next_window

_log = logging.getLogger(__name__)

SOURCE = "/perdura/schedules"
OURSELVES = Principal("schedules", frozenset(), "job")
LIST_REQUEST = "org.perdura.harvest.run.requested.v1"
BATCH = 20
LONG = timedelta(hours=1)
"""A harvest that waits longer than this does not hold up its run."""


def tick(environment: Environment) -> list[CloudEvent]:
    """Begin the runs that are due, ask for listings that were lost, move every run on."""
    with environment.engine.begin() as connection:
        _stop_of_shut_accounts(connection)
        events = begin_due(connection)
        events += ask_to_list(connection)
        working = runs.working(connection)
    for run in working:
        with environment.engine.begin() as connection:
            runs.gather_astray(connection, run)
            events += move(connection, run)
    return events


def _stop_of_shut_accounts(connection: Connection) -> None:
    """Pause what an account recurs to that was shut, and tell the audit log of it."""
    for action, found in (
        ("pause_schedule", schedules.stop_of_shut_accounts(connection)),
        ("pause_run", runs.stop_of_shut_accounts(connection)),
    ):
        for each in found:
            _log.warning("%s %s: %s", action, each, schedules.SHUT)
            act = audit.Act(action, audit.DONE, "", "", 200, (str(each),), {"reason": schedules.SHUT})
            audit.record(connection, OURSELVES, act)


def _check_owner(row: Row[Any]) -> None:
    """Raise Conflict where nothing is begun any more with the credentials of whoever made the schedule."""
    if row.owner_shut:
        raise Conflict(f"{schedules.SHUT[:-1]}: resume the schedule first.", code="account-shut")


def next_time(cron: str, after: datetime | None = None) -> datetime | None:
    """When a schedule is due next; raises Rejected for an expression that cannot be read."""
    return parse(cron).after(after or datetime.now(UTC))


def begin_due(connection: Connection) -> list[CloudEvent]:
    """Begin a run of every schedule whose time has come; one that still runs is left alone until it is due again."""
    events: list[CloudEvent] = []
    for schedule in schedules.due(connection, BATCH):
        events += begin(connection, schedule)
        schedules.note_next(connection, schedule.id, next_time(schedule.cron))
    return events


def begin(connection: Connection, schedule: Row[Any], run: UUID | None = None) -> list[CloudEvent]:
    """Begin a run of a schedule for everything since its last one, and ask for its listing.

    Nothing happens when the schedule has an open run, or when no time has passed since its last window.
    """
    window = next_window(
        Cursor(schedule.done_until),
        datetime.now(UTC),
        grace=timedelta(seconds=schedule.grace_seconds),
        overlap=timedelta(seconds=schedule.overlap_seconds),
    )
    run = run or new_id()
    if window is None or not runs.begin(connection, run, schedule.id, window.start, window.end):
        return []
    return ask_to_list(connection)


def run_now(connection: Connection, schedule_id: UUID) -> tuple[UUID, list[CloudEvent]]:
    """Begin a run before its time. Raises NotFound, or Conflict when there is an open one or nothing can be new."""
    schedule = schedules.find(connection, schedule_id, lock=True)
    if schedule.state == ScheduleState.RETIRED:
        raise Conflict("The schedule is retired.", code="schedule-retired")
    _check_owner(schedule)
    run = new_id()
    events = begin(connection, schedule, run)
    if not connection.execute(text("SELECT EXISTS (SELECT FROM harvest_run WHERE id = :run)"), {"run": run}).scalar():
        raise Conflict("The schedule has a run that is not finished, or nothing can be new yet.", code="run-open")
    return run, events


def ask_to_list(connection: Connection) -> list[CloudEvent]:
    """Ask the harvest function for the listings that nobody works on."""
    now = datetime.now(UTC)
    events = [
        build(LIST_REQUEST, {"run": run}, source=SOURCE, at=now, key=(run, until.isoformat()))
        for run, until in runs.to_list(connection, BATCH)
    ]
    if events:
        outbox.write(connection, events)
    return events


def move(connection: Connection, run_id: UUID) -> list[CloudEvent]:
    """Start as many items of a run as it may have, pause it when too much fails, end it when nothing is left."""
    run = runs.find(connection, run_id, lock=True)
    state = RunState(run.state)
    if state not in OPEN_RUNS or state is RunState.PAUSED:
        return []
    decided: Advance = advance(state, Counts.of(runs.counts(connection, run_id)), _limits(run))
    events = _start(connection, run, runs.take(connection, run_id, decided.start))
    if decided.state is not state:
        runs.put_state(connection, run_id, decided.state, expected=[state], reason=decided.reason)
        _log.info("run %s is %s: %s", run_id, decided.state, decided.reason)
    return events


def _limits(run: Row[Any]) -> Limits:
    return Limits(
        concurrency=run.concurrency,
        records=run.record_limit,
        failures_at_least=run.failures_at_least,
        failure_share=run.failure_share,
        forgiven=run.forgiven,
    )


def _start(connection: Connection, run: Row[Any], items: Sequence[Row[Any]]) -> list[CloudEvent]:
    events: list[CloudEvent] = []
    into: dict[str, UUID] = {}
    for item in items:
        begun = _retried(connection, item.archive_id) or _created(connection, run, item)
        into[item.recid] = begun.archive
        events += begun.events
    if into:
        runs.started(connection, run.id, into)
    if into and run.owner is not None:
        rights.own_for(connection, run.owner, list(into.values()), given_by=f"schedule {run.schedule_name}")
    if into and run.collection_id is not None:
        connection.execute(
            text("""
                INSERT INTO collection_member (collection_id, archive_id)
                SELECT :collection, unnest(CAST(:archives AS uuid[])) ON CONFLICT DO NOTHING
            """),
            {"collection": run.collection_id, "archives": list(into.values())},
        )
    return events


def _retried(connection: Connection, archive: UUID | None) -> archives.Begun | None:
    """The next attempt of an item's Archive; when a person has taken it up already, that is it."""
    if archive is None:
        return None
    try:
        return archives.retry(connection, archive)
    except Conflict:
        return archives.Begun(archive, ())


def _created(connection: Connection, run: Row[Any], item: Row[Any]) -> archives.Begun:
    wanted = {
        "source": run.source,
        "recid": item.recid,
        "base_url": run.base_url,
        "known": item.fingerprint,
        "requested_by": str(run.owner) if run.owner else None,
        "scopes": run.scopes,
        "run": str(run.id),
    }
    return archives.create(
        connection,
        derived_id("harvest item", run.id, item.recid),
        title=item.title or f"{run.source} {item.recid}",
        origin="harvest",
        pipeline=run.pipeline,
        step_input={name: value for name, value in wanted.items() if value is not None},
        source=SOURCE,
    )


# ------------------------------------------------------------------------------------------------- what became of it


def settled(connection: Connection, archive: ArchiveView, outcome: Outcome) -> list[UUID]:
    """Note, in the transaction that closes a harvest, what became of its item; the runs that may have to move."""
    now = datetime.now(UTC)
    state = item_state(outcome, now)
    if state is None:
        return []
    if state is ItemState.DELETED:
        _tell_earlier(connection, archive, outcome, now)
    return runs.settle(
        connection,
        archive.id,
        state,
        code=outcome.error_code,
        message=outcome.message,
        harvested=_known_by(outcome) if state in (ItemState.DONE, ItemState.UNCHANGED) else None,
    )


def _tell_earlier(connection: Connection, archive: ArchiveView, outcome: Outcome, now: datetime) -> None:
    """The Archive that has the record of which a harvest found only the tombstone gets an event; nothing else."""
    source, recid = (outcome.archive.source, outcome.archive.recid) if outcome.archive else (None, None)
    if source is None or recid is None:
        return
    earlier = runs.seen(connection, source, [recid]).get(recid)
    if earlier is not None and earlier.archive is not None and earlier.archive != archive.id:
        item = Item(recid, "tombstone", deleted=True)
        event = harvest_run_events.deleted(archive.step.id, source, item, earlier.archive, now)
        log.append_free(connection, [event], actor="harvest")


def item_state(outcome: Outcome, now: datetime) -> ItemState | None:
    """The state of the item whose harvest ended so; None while it goes on."""
    match outcome.state:
        case StepState.COMPLETED | StepState.COMPLETED_WITH_WARNINGS:
            return ItemState.DONE
        case StepState.CANCELLED:
            return ItemState.UNCHANGED if outcome.error_code == "unchanged" else ItemState.CANCELLED
        case StepState.BLOCKED if outcome.error_code == "upstream-closed":
            return ItemState.WAITING
        case StepState.FAILED if outcome.error_code == UpstreamDeleted.code:
            return ItemState.DELETED
        case StepState.FAILED | StepState.BLOCKED:
            return ItemState.FAILED
        case StepState.WAITING if outcome.poll_at is not None and outcome.poll_at - now > LONG:
            return ItemState.WAITING
        case _:
            return None


def _known_by(outcome: Outcome) -> tuple[str, str, str | None, str] | None:
    told: Mapping[str, Any] = outcome.output
    source, recid, fingerprint = told.get("source"), told.get("recid"), told.get("fingerprint")
    if not (isinstance(source, str) and isinstance(recid, str) and isinstance(fingerprint, str)):
        return None
    return source, recid, told.get("revision"), fingerprint


def go_on(environment: Environment, open_runs: Sequence[UUID]) -> list[CloudEvent]:
    """Start what comes next in these runs, in a transaction of its own; what fails here is left to the tick."""
    events: list[CloudEvent] = []
    for run in open_runs:
        with environment.engine.begin() as connection:
            events += move(connection, run)
    return events


# ------------------------------------------------------------------------------------------------- what people may do


def pause(connection: Connection, run: UUID) -> None:
    """Start nothing more; what is being harvested goes on. Raises Conflict, NotFound."""
    runs.find(connection, run, lock=True)
    expected = [RunState.LISTING, RunState.RUNNING]
    runs.put_state(connection, run, RunState.PAUSED, expected=expected, reason="paused by a person")


def resume(connection: Connection, run: UUID) -> list[CloudEvent]:
    """Go on with a paused run; the failures so far are forgiven. Raises Conflict, NotFound."""
    _check_owner(runs.find(connection, run, lock=True))
    failed = runs.counts(connection, run).get(ItemState.FAILED, 0)
    state = RunState.LISTING if runs.pending(connection, run) else RunState.RUNNING
    runs.put_state(connection, run, state, expected=[RunState.PAUSED], forgiven=failed)
    return ask_to_list(connection) + move(connection, run)


def cancel(connection: Connection, run: UUID) -> int:
    """End a run: what is queued is cancelled, what is being harvested goes on. Raises Conflict, NotFound.

    A window that was not listed to its end is listed by the next run: the schedule's cursor has not passed it.
    """
    runs.find(connection, run, lock=True)
    runs.put_state(connection, run, RunState.CANCELLED, expected=OPEN_RUNS, reason="cancelled by a person")
    return runs.put_items(connection, run, ItemState.QUEUED, ItemState.CANCELLED)


def retry_failed(connection: Connection, run: UUID) -> tuple[int, list[CloudEvent]]:
    """Queue the failed items of a run again, each as a new attempt of its Archive. Raises Conflict, NotFound."""
    found = runs.find(connection, run, lock=True)
    state = RunState(found.state)
    if state is RunState.CANCELLED:
        raise Conflict("A cancelled run does nothing more.", code="run-state")
    _check_owner(found)
    number = runs.put_items(connection, run, ItemState.FAILED, ItemState.QUEUED)
    if number and state not in OPEN_RUNS:
        _reopen(connection, run, state)
    return number, move(connection, run)


def _reopen(connection: Connection, run: UUID, state: RunState) -> None:
    try:
        with connection.begin_nested():
            runs.put_state(connection, run, RunState.RUNNING, expected=[state], forgiven=0)
    except IntegrityError as error:
        raise Conflict("A later run of the schedule is not finished yet.", code="run-open") from error
