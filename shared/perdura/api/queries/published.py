"""Archives that are published on the access pages: the only ones that strangers may see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, tuple_
from sqlalchemy.engine import Connection

from perdura.api.queries.rows import AnyRow
from perdura.clients.destinations import ACCESS_PAGES
from perdura.outcome import PackageKind
from perdura.registry.access_tables import Placement
from perdura.registry.tables import Archive, Package, Publication, Resource


def _conditions() -> tuple[ColumnElement[bool], ...]:
    return (Publication.destination == ACCESS_PAGES, Archive.restricted.is_(False))


def _published() -> Select[*tuple[Any, ...]]:
    return (
        select(
            Archive.id,
            Archive.title,
            Archive.resource_id,
            Archive.metadata_.label("metadata"),
            Archive.created_at,
            Archive.updated_at,
            Publication.published_at,
            Publication.url,
            Resource.source,
            Resource.recid,
        )
        .join_from(Archive, Publication, Publication.archive_id == Archive.id)
        .outerjoin(Resource, Resource.id == Archive.resource_id)
        .where(*_conditions())
    )


def find(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """One published Archive; None for what is not published, restricted or not there."""
    return connection.execute(_published().where(Archive.id == archive_id)).one_or_none()


def any_archive(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """An Archive whether it is published or not, for those who were given a pass to its content."""
    return connection.execute(
        select(
            Archive.id,
            Archive.title,
            Archive.resource_id,
            Archive.metadata_.label("metadata"),
            Archive.created_at,
            Archive.updated_at,
            Archive.updated_at.label("published_at"),
            Resource.source,
            Resource.recid,
        )
        .outerjoin(Resource, Resource.id == Archive.resource_id)
        .where(Archive.id == archive_id)
    ).one_or_none()


def withdrawn(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """What was noted when an Archive was withdrawn from the access pages."""
    return connection.execute(
        select(Placement.details, Placement.updated_at)
        .join(Archive, Archive.id == Placement.archive_id)
        .where(
            Placement.archive_id == archive_id,
            Placement.destination == ACCESS_PAGES,
            Placement.state == "withdrawn",
            Archive.restricted.is_(False),
        )
    ).one_or_none()


def aip(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """The AIP of an Archive."""
    return connection.execute(
        select(Package.__table__).where(
            Package.archive_id == archive_id, Package.kind == PackageKind.AIP, Package.accepted
        )
    ).one_or_none()


def versions(connection: Connection, resource_id: UUID | None) -> Sequence[AnyRow]:
    """Published Archives of one Resource, the newest first."""
    if resource_id is None:
        return ()
    return connection.execute(
        _published()
        .where(Archive.resource_id == resource_id)
        .order_by(Archive.created_at.desc(), Archive.id.desc())
        .limit(100)
    ).all()


def newest(connection: Connection, limit: int) -> Sequence[AnyRow]:
    """The Archives published last."""
    return connection.execute(
        _published().order_by(Publication.published_at.desc(), Archive.id.desc()).limit(limit)
    ).all()


def page(
    connection: Connection,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str | None = None,
) -> Sequence[AnyRow]:
    """At most `limit` Archives by time of publication, the oldest first, after a sort key.

    `since` and `until` are both included; `source` is the name of a Source.
    """
    statement = _published().order_by(Publication.published_at, Archive.id).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(Publication.published_at, Archive.id) > after)
    if since is not None:
        statement = statement.where(Publication.published_at >= since)
    if until is not None:
        statement = statement.where(Publication.published_at <= until)
    if source is not None:
        statement = statement.where(Resource.source == source)
    return connection.execute(statement).all()


def earliest(connection: Connection) -> datetime | None:
    """When the first of them was published."""
    return connection.execute(
        select(func.min(Publication.published_at))
        .join_from(Archive, Publication, Publication.archive_id == Archive.id)
        .where(*_conditions())
    ).scalar_one()


def sources(connection: Connection) -> Sequence[str]:
    """Names of the Sources of published Archives."""
    return (
        connection.execute(
            select(Resource.source)
            .distinct()
            .join_from(Archive, Publication, Publication.archive_id == Archive.id)
            .join(Resource, Resource.id == Archive.resource_id)
            .where(*_conditions())
            .order_by(Resource.source)
        )
        .scalars()
        .all()
    )
