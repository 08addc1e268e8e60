"""What was harvested of each source, and how it went last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import func, select, text, tuple_
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import hides, visible_archives
from perdura.registry.harvest_tables import HostBudget, Schedule
from perdura.registry.run_states import ScheduleState
from perdura.registry.tables import Archive, Resource


@dataclass(frozen=True, slots=True)
class Harvested:
    """The latest harvest of a source, and its next."""

    at: datetime
    state: str


_LATEST = text("""
    SELECT source, latest.created_at, latest.state
    FROM unnest(CAST(:sources AS text[])) AS source, LATERAL (
        SELECT created_at, state FROM archive_index
        WHERE archive_index.source = source.source AND (:everything OR NOT restricted)
        ORDER BY created_at DESC, archive_id DESC LIMIT 1
    ) AS latest
""")


def latest(connection: Connection, principal: Principal, sources: Sequence[str]) -> Mapping[str, Harvested]:
    """The newest Archive of each source that has any, without restricted ones where some may be hidden."""
    rows = connection.execute(_LATEST, {"sources": list(sources), "everything": not hides(principal)})
    return {row.source: Harvested(row.created_at, row.state) for row in rows}


def due(connection: Connection) -> Mapping[str, datetime]:
    """When the next schedule of each source is due."""
    rows = connection.execute(
        select(Schedule.source, func.min(Schedule.next_at))
        .where(Schedule.next_at.is_not(None), Schedule.state == ScheduleState.ACTIVE)
        .group_by(Schedule.source)
    )
    return {row[0]: row[1] for row in rows if row[1] is not None}


def resting(connection: Connection) -> Mapping[str, datetime]:
    """Until when each host has asked to be left alone."""
    now = datetime.now(UTC).timestamp()
    rows = connection.execute(select(HostBudget.host, HostBudget.blocked_until).where(HostBudget.blocked_until > now))
    return {row[0]: datetime.fromtimestamp(row[1], UTC) for row in rows}


def archives_of(
    connection: Connection, principal: Principal, source: str, recids: Sequence[str]
) -> Mapping[str, list[UUID]]:
    """Archives of several records of a source, newest first, as far as the principal may see them."""
    found: dict[str, list[UUID]] = {}
    rows = connection.execute(
        select(Resource.recid, Archive.id)
        .join(Archive, Archive.resource_id == Resource.id)
        .where(
            tuple_(Resource.source, Resource.recid).in_([(source, recid) for recid in recids]),
            visible_archives(principal),
        )
        .order_by(Archive.created_at.desc())
        .limit(1000)
    )
    for row in rows:
        found.setdefault(row.recid, []).append(row.id)
    return found
