"""What has stopped, grouped by cause: the step, its error code, and the state of the Archives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, Select, Text, column, lateral, select, true, values
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.facets import visible_cells
from perdura.api.queries.finding import only_visible
from perdura.api.queries.rows import AnyRow
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.tables import Archive, Step
from perdura.registry.transitions import ERRAND_POSITION, ArchiveState

STOPPED = (ArchiveState.FAILED, ArchiveState.REJECTED, ArchiveState.BLOCKED)
"""States in which an Archive needs a person, or a better package."""


@dataclass(frozen=True, slots=True)
class Cause:
    """So many Archives stopped by one step for one cause; what the newest of them was told, and when."""

    name: str
    code: str
    state: str
    count: int
    message: str
    last: datetime | None


def causes(connection: Connection, principal: Principal, limit: int = 30) -> list[Cause]:
    """Causes, the most frequent first; in three statements at most."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for cell in visible_cells(connection, principal):
        if cell.values["state"] in STOPPED and cell.values["step"]:
            counts[cell.values["step"], cell.values["cause"], cell.values["state"]] += cell.archives
    frequent = counts.most_common(limit)
    if not frequent:
        return []
    newest = _newest(connection, principal, [cause for cause, _ in frequent])
    return [
        Cause(*cause, number, (newest[at].error_message or "") if at in newest else "",
              newest[at].updated_at if at in newest else None)
        for at, (cause, number) in enumerate(frequent)
    ]  # fmt: skip


def _newest(
    connection: Connection, principal: Principal, asked: Sequence[tuple[str, str, str]]
) -> Mapping[int, AnyRow]:
    """What the newest Archive of each (step, code, state) was told, by the place of the cause; one statement."""
    index = ArchiveIndex
    cause = values(
        column("at", Integer), column("step", Text), column("code", Text), column("state", Text), name="asked"
    ).data([(at, *each) for at, each in enumerate(asked)])
    first = lateral(
        only_visible(
            select(index.archive_id).where(
                index.state == cause.c.state, index.step == cause.c.step, index.cause == cause.c.code
            ),
            principal,
        )
        .order_by(index.created_at.desc(), index.archive_id.desc())
        .limit(1)
    )
    last = lateral(
        select(Step.error_message, Step.updated_at)
        .where(Step.archive_id == first.c.archive_id, Step.position < ERRAND_POSITION)
        .order_by(Step.position.desc(), Step.attempt.desc())
        .limit(1)
    )
    statement = select(cause.c.at, last.c.error_message, last.c.updated_at).select_from(cause)
    rows = connection.execute(statement.join(first, true()).join(last, true()))
    return {row.at: row for row in rows}


def _stopped(principal: Principal, step: str, code: str, state: str) -> Select[*tuple[UUID, datetime]]:
    index = ArchiveIndex
    statement = (
        select(index.archive_id, index.created_at)
        .where(index.state == state, index.step == step, index.cause == code)
        .order_by(index.created_at.desc(), index.archive_id.desc())
    )
    seen = visible_archives(principal)
    if seen.compare(true()):
        return statement
    return statement.join(Archive, Archive.id == index.archive_id).where(seen)


def archives(
    connection: Connection, principal: Principal, *, step: str, code: str, state: str, limit: int
) -> Sequence[AnyRow]:
    """Archives stopped by one cause, the newest first, with what was said; an empty `code` is a step that gave none."""
    some = _stopped(principal, step, code, state).limit(limit).subquery()
    last = lateral(
        select(Step.error_message, Step.updated_at, Step.attempt)
        .where(Step.archive_id == some.c.archive_id, Step.position < ERRAND_POSITION)
        .order_by(Step.position.desc(), Step.attempt.desc())
        .limit(1)
    )
    return connection.execute(
        select(Archive.id, Archive.title, Archive.state, last.c.error_message, last.c.updated_at, last.c.attempt)
        .join_from(some, Archive, Archive.id == some.c.archive_id)
        .join(last, true())
        .order_by(some.c.created_at.desc(), some.c.archive_id.desc())
    ).all()


def every(
    connection: Connection, principal: Principal, *, step: str, code: str, state: str, limit: int
) -> Sequence[UUID]:
    """Ids of at most `limit` Archives stopped by one cause."""
    return connection.execute(_stopped(principal, step, code, state).limit(limit)).scalars().all()
