"""Jobs and their items; what a job would be about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, tuple_
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Permission, Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.criteria import Criteria, conditions
from perdura.api.queries.finding import only_visible
from perdura.api.queries.rows import AnyRow
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.jobs import LARGEST, Job, JobItem
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
    """What a job would be about: the Archives for which its act makes sense, and how many match in each state."""

    archives: Sequence[UUID]
    states: dict[str, int]
    exact: bool


def plan(
    connection: Connection,
    principal: Principal,
    act: str,
    *,
    criteria: Criteria | None,
    archives: Sequence[UUID] | None,
) -> Plan:
    """The Archives of a filter or list, cut down to those for which the act makes sense."""
    statement = select(ArchiveIndex.archive_id, ArchiveIndex.state)
    if criteria is not None:
        statement = only_visible(statement.where(*conditions(criteria)), principal)
    else:
        statement = statement.join(Archive, Archive.id == ArchiveIndex.archive_id).where(
            ArchiveIndex.archive_id.in_(archives or ()), visible_archives(principal)
        )
    rows = connection.execute(statement.limit(LARGEST + 1)).all()
    sensible = ELIGIBLE.get(act)
    return Plan(
        archives=[row.archive_id for row in rows if sensible is None or row.state in sensible],
        states=dict(Counter(row.state for row in rows)),
        exact=len(rows) <= LARGEST,
    )


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
