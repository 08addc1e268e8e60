"""Schedules, runs and their items: listings by keyset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.engine import Connection

from perdura.api.queries.rows import AnyRow
from perdura.registry.harvest_tables import HarvestBatch, HarvestItem, HarvestRun, Schedule
from perdura.registry.run_states import ItemState, ScheduleState
from perdura.registry.schedules import OWNER_SHUT

_OWNER_SHUT: ColumnElement[bool] = literal_column(OWNER_SHUT).label("owner_shut")


def page(
    connection: Connection, *, state: ScheduleState | None, limit: int, after: tuple[datetime, UUID] | None
) -> Sequence[AnyRow]:
    """At most `limit` schedules, newest first; without a state all that are not retired."""
    wanted = Schedule.state == state if state else Schedule.state != ScheduleState.RETIRED
    statement = (
        select(Schedule.__table__, _OWNER_SHUT)
        .where(wanted)
        .order_by(Schedule.created_at.desc(), Schedule.id.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(Schedule.created_at, Schedule.id) < after)
    return connection.execute(statement).all()


def find(connection: Connection, schedule: UUID) -> AnyRow | None:
    """One schedule."""
    return connection.execute(select(Schedule.__table__, _OWNER_SHUT).where(Schedule.id == schedule)).one_or_none()


def latest_runs(connection: Connection, schedules: Sequence[UUID]) -> Mapping[UUID, AnyRow]:
    """The newest run of each schedule."""
    statement = (
        select(HarvestRun.__table__)
        .where(HarvestRun.schedule_id.in_(schedules))
        .ext(distinct_on(HarvestRun.schedule_id))
        .order_by(HarvestRun.schedule_id, HarvestRun.created_at.desc())
    )
    return {row.schedule_id: row for row in connection.execute(statement)}


def runs(
    connection: Connection, schedule: UUID, *, limit: int, after: tuple[datetime, UUID] | None
) -> Sequence[AnyRow]:
    """At most `limit` runs of a schedule, newest first."""
    statement = (
        select(HarvestRun.__table__)
        .where(HarvestRun.schedule_id == schedule)
        .order_by(HarvestRun.created_at.desc(), HarvestRun.id.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(HarvestRun.created_at, HarvestRun.id) < after)
    return connection.execute(statement).all()


def run(connection: Connection, run_id: UUID) -> AnyRow | None:
    """One run."""
    return connection.execute(select(HarvestRun.__table__).where(HarvestRun.id == run_id)).one_or_none()


def batches(connection: Connection, run_id: UUID) -> Sequence[AnyRow]:
    """The batches of a run, at most a thousand."""
    return connection.execute(
        select(HarvestBatch.__table__).where(HarvestBatch.run_id == run_id).order_by(HarvestBatch.number).limit(1000)
    ).all()


def counts(connection: Connection, run_ids: Sequence[UUID]) -> Mapping[UUID, Mapping[str, int]]:
    """Items of several runs by state."""
    found: dict[UUID, dict[str, int]] = {run_id: {} for run_id in run_ids}
    statement = (
        select(HarvestItem.run_id, HarvestItem.state, func.count())
        .where(HarvestItem.run_id.in_(run_ids))
        .group_by(HarvestItem.run_id, HarvestItem.state)
    )
    for run_id, state, number in connection.execute(statement):
        found[run_id][state] = number
    return found


def items(connection: Connection, run_id: UUID, *, state: ItemState | None, limit: int, after: int) -> Sequence[AnyRow]:
    """At most `limit` items of a run in the order of their listing, after a position."""
    statement = (
        select(HarvestItem.__table__)
        .where(HarvestItem.run_id == run_id, HarvestItem.position > after)
        .order_by(HarvestItem.position)
        .limit(limit)
    )
    if state is not None:
        statement = statement.where(HarvestItem.state == state)
    return connection.execute(statement).all()
