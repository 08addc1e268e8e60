"""Jobs and their items; what a job would be about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Permission, Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.criteria import Criteria, conditions
from perdura.api.queries.finding import Selection, only_visible
from perdura.api.queries.rows import AnyRow
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.job_tables import Job, JobItem
from perdura.registry.jobs import LARGEST
from perdura.registry.tables import Archive
from perdura.registry.transitions import ArchiveState

ELIGIBLE: dict[str, frozenset[str]] = {
    "retry": frozenset({ArchiveState.FAILED, ArchiveState.BLOCKED}),
    "skip": frozenset({ArchiveState.FAILED, ArchiveState.BLOCKED}),
    "cancel": frozenset(
        {
            ArchiveState.AWAITING_UPLOAD,
            ArchiveState.QUEUED,
            ArchiveState.RUNNING,
            ArchiveState.WAITING,
            ArchiveState.BLOCKED,
        }
    ),
    "run": frozenset({ArchiveState.COMPLETED, ArchiveState.COMPLETED_WITH_WARNINGS}),
}
"""States of Archives for which an act makes sense; of an act that is not named, all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a job would be about: how many Archives match in each state, and for how many its act makes sense."""

    states: dict[str, int]
    eligible: int

    @property
    def total(self) -> int:
        """How many match."""
        return sum(self.states.values())

    @property
    def fits(self) -> bool:
        """Whether one job can do them all."""
        return self.eligible <= LARGEST


def plan(connection: Connection, principal: Principal, act: str, wanted: Criteria | Sequence[UUID]) -> Plan:
    """What an act on the Archives of a filter or list would be about; all of them are counted, however many."""
    matching = _matching(principal, wanted, ArchiveIndex.state, func.count()).group_by(ArchiveIndex.state)
    states = {row[0]: row[1] for row in connection.execute(matching)}
    sensible = ELIGIBLE.get(act, states.keys())
    return Plan(states, sum(number for state, number in states.items() if state in sensible))


def eligible(
    connection: Connection, principal: Principal, act: str, wanted: Criteria | Sequence[UUID]
) -> Sequence[UUID]:
    """The Archives for which an act makes sense, oldest first: one more at most than a job takes."""
    statement = _matching(principal, wanted, ArchiveIndex.archive_id)
    if act in ELIGIBLE:
        statement = statement.where(ArchiveIndex.state.in_(ELIGIBLE[act]))
    ordered = statement.order_by(ArchiveIndex.created_at, ArchiveIndex.archive_id)
    return connection.execute(ordered.limit(LARGEST + 1)).scalars().all()


def _matching(principal: Principal, wanted: Criteria | Sequence[UUID], *columns: Any) -> Selection:
    statement: Selection = select(*columns).select_from(ArchiveIndex)
    if isinstance(wanted, Criteria):
        return only_visible(statement.where(*conditions(wanted)), principal)
    return only_visible(statement.where(ArchiveIndex.archive_id.in_(wanted)), principal)


def page(
    connection: Connection, principal: Principal, *, limit: int, after: tuple[datetime, UUID] | None = None
) -> Sequence[AnyRow]:
    """At most `limit` jobs, newest first: those of the principal, or all for who may operate."""
    statement = select(Job.__table__).order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    if not principal.may(Permission.OPERATE):
        statement = statement.where(Job.account_id == principal.account)
    if after is not None:
        statement = statement.where(tuple_(Job.created_at, Job.id) < after)
    return connection.execute(statement).all()


def find(connection: Connection, principal: Principal, job_id: UUID) -> AnyRow | None:
    """One job."""
    row = connection.execute(select(Job.__table__).where(Job.id == job_id)).one_or_none()
    if row is None or principal.may(Permission.OPERATE):
        return row
    return row if row.account_id == principal.account is not None else None


def items(
    connection: Connection,
    principal: Principal,
    job_id: UUID,
    *,
    limit: int,
    after: int | None = None,
    state: str | None = None,
) -> Sequence[AnyRow]:
    """At most `limit` items of a job, in their order, without those about Archives that the principal may not see."""
    seen = select(Archive.id).where(Archive.id == JobItem.archive_id, visible_archives(principal)).exists()
    statement = (
        select(JobItem.__table__)
        .where(JobItem.job_id == job_id, or_(JobItem.archive_id.is_(None), seen))
        .order_by(JobItem.position)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(JobItem.position > after)
    if state is not None:
        statement = statement.where(JobItem.state == state)
    return connection.execute(statement).all()
