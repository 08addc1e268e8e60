"""Steps of the tape system over all Archives."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Select, Text, cast, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.outcome import STOPPABLE, StepState
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.tables import Archive, Step

STEPS = ("archive", "recall")


def _steps(
    principal: Principal, wanted: Sequence[str], states: Collection[str], limit: int
) -> Select[*tuple[object, ...]]:
    """Steps of those names and states, the Archives found by their index."""
    ways = [f"{name}:{state}" for name in wanted for state in states]
    archives = (
        select(ArchiveIndex.archive_id)
        .where(ArchiveIndex.steps.op("&&")(cast(ways, ARRAY(Text))))
        .order_by(ArchiveIndex.created_at.desc(), ArchiveIndex.archive_id.desc())
        .limit(limit)
    )
    return (
        select(Step.__table__, Archive.title)
        .join_from(Step, Archive, Archive.id == Step.archive_id)
        .where(
            Step.archive_id.in_(archives.scalar_subquery()), Step.name.in_(wanted), Step.state.in_(states),
            visible_archives(principal),
        )
        .order_by(Step.updated_at.desc())
        .limit(limit)
    )  # fmt: skip


def under_way(connection: Connection, principal: Principal, limit: int) -> Sequence[AnyRow]:
    """At most `limit` steps that write to tape or read from it, with the title of their Archive."""
    return connection.execute(_steps(principal, STEPS, STOPPABLE, limit)).all()


def recalls(connection: Connection, principal: Principal, limit: int) -> Sequence[AnyRow]:
    """At most `limit` recalls that have ended."""
    ended = (StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS, StepState.FAILED)
    return connection.execute(_steps(principal, ("recall",), ended, limit)).all()
