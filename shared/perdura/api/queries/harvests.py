"""Harvests: Archives that began with one, and the latest attempt of that step."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Archive, Resource, Step

ORIGIN = "harvest"


def of(connection: Connection, principal: Principal, archives: Sequence[UUID]) -> Sequence[AnyRow]:
    """The harvests of those of the Archives that the principal may see, newest first; one statement."""
    statement = (
        select(
            Archive.id, Archive.title, Archive.state.label("archive_state"), Archive.created_at, Resource.source,
            Resource.recid, Step.state, Step.attempt, Step.input, Step.progress, Step.error_code, Step.error_message,
            Step.started_at, Step.finished_at,
        )
        .ext(distinct_on(Archive.created_at, Archive.id))
        .join_from(Archive, Step, Step.archive_id == Archive.id)
        .outerjoin(Resource, Resource.id == Archive.resource_id)
        .where(
            Archive.id.in_(archives), Archive.origin == ORIGIN, Step.position == 0, Step.name == "harvest",
            visible_archives(principal),
        )
        .order_by(Archive.created_at.desc(), Archive.id.desc(), Step.attempt.desc())
    )  # fmt: skip
    return connection.execute(statement).all()
