"""What went wrong, grouped by cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.outcome import StepState
from perdura.registry.tables import Archive, Step
from perdura.registry.transitions import ArchiveState

STOPPED = (ArchiveState.FAILED, ArchiveState.REJECTED, ArchiveState.BLOCKED)
"""States in which an Archive needs a person, or a better package."""


def _last_failures() -> Any:
    later = aliased(Step)
    return and_(
        Step.state.in_((StepState.FAILED, StepState.BLOCKED)),
        ~exists().where(
            later.archive_id == Step.archive_id, later.position == Step.position, later.attempt > Step.attempt
        ),
    )


def causes(connection: Connection, principal: Principal, limit: int = 100) -> Sequence[AnyRow]:
    """Causes by (step, error code, Archive state), the most frequent first: count, first and last time, an example."""
    return connection.execute(
        select(
            Step.name,
            Step.error_code.label("code"),
            Archive.state,
            func.count().label("count"),
            func.min(Step.updated_at).label("first"),
            func.max(Step.updated_at).label("last"),
            func.min(Step.error_message).label("message"),
        )
        .join_from(Step, Archive, Archive.id == Step.archive_id)
        .where(Archive.state.in_(STOPPED), _last_failures(), visible_archives(principal))
        .group_by(Step.name, Step.error_code, Archive.state)
        .order_by(func.count().desc(), func.max(Step.updated_at).desc())
        .limit(limit)
    ).all()


def archives(
    connection: Connection, principal: Principal, *, step: str, code: str, state: str, limit: int = 50
) -> Sequence[AnyRow]:
    """Archives stopped by one cause, the latest first; an empty `code` is a step that gave none."""
    return connection.execute(
        select(Archive.id, Archive.title, Archive.state, Step.error_message, Step.updated_at, Step.attempt)
        .join_from(Step, Archive, Archive.id == Step.archive_id)
        .where(
            Archive.state == state,
            Step.name == step,
            Step.error_code == code if code else Step.error_code.is_(None),
            _last_failures(),
            visible_archives(principal),
        )
        .order_by(Step.updated_at.desc())
        .limit(limit)
    ).all()
