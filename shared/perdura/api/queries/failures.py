"""What has stopped, grouped by cause: the step, its error code, and the state of the Archives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Select, lateral, select, true
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.facets import visible_cells
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
    """Causes, the most frequent first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for cell in visible_cells(connection, principal):
        if cell.values["state"] in STOPPED and cell.values["step"]:
            counts[cell.values["step"], cell.values["cause"], cell.values["state"]] += cell.archives
    found = []
    for (name, code, state), number in counts.most_common(limit):
        newest = archives(connection, principal, step=name, code=code, state=state, limit=1) if limit else []
        message = (newest[0].error_message or "") if newest else ""
        found.append(Cause(name, code, state, number, message, newest[0].updated_at if newest else None))
    return found


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
