"""Archives that are published on the access pages: the only ones that strangers may see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, literal, select, tuple_
from sqlalchemy.engine import Connection
from sqlalchemy.orm import InstrumentedAttribute

from perdura.api.queries.criteria import matches
from perdura.api.queries.rows import AnyRow
from perdura.clients.destinations import ACCESS_PAGES
from perdura.outcome import CopyState, PackageKind
from perdura.registry import withdrawals
from perdura.registry.access_tables import Placement
from perdura.registry.archive_index import ArchiveIndex
from perdura.registry.checks import STORE
from perdura.registry.tables import Archive, Copy, Package, Publication, Resource


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
            Publication.changed_at,
            Publication.url,
            Resource.source,
            Resource.recid,
            literal(False).label("withdrawn"),
        )
        .join_from(Archive, Publication, Publication.archive_id == Archive.id)
        .outerjoin(Resource, Resource.id == Archive.resource_id)
        .where(*_conditions())
    )


def _withdrawn() -> Select[*tuple[Any, ...]]:
    """The columns of `_published` for what was withdrawn; the time of that takes the place of the publication's."""
    return (
        select(
            Archive.id,
            Archive.title,
            Archive.resource_id,
            Archive.metadata_.label("metadata"),
            Archive.created_at,
            Archive.updated_at,
            Placement.updated_at.label("published_at"),
            Placement.updated_at.label("changed_at"),
            literal("").label("url"),
            Resource.source,
            Resource.recid,
            literal(True).label("withdrawn"),
        )
        .join_from(Archive, Placement, Placement.archive_id == Archive.id)
        .outerjoin(Resource, Resource.id == Archive.resource_id)
        .where(Placement.destination == ACCESS_PAGES, Placement.state == "withdrawn", Archive.restricted.is_(False))
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


def once_published(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """One published or withdrawn Archive; `withdrawn` says which."""
    return (
        find(connection, archive_id) or connection.execute(_withdrawn().where(Archive.id == archive_id)).one_or_none()
    )


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


def is_withdrawn(connection: Connection, archive_id: UUID) -> bool:
    """Whether an Archive was withdrawn from the access pages, or from everywhere it was or was to be."""
    if {None, ACCESS_PAGES} & set(withdrawals.standing(connection, archive_id)):
        return True
    states = _states(connection, archive_id)
    return states.get(ACCESS_PAGES) == "withdrawn" or set(states.values()) == {"withdrawn"}


def is_placed(connection: Connection, archive_id: UUID) -> bool:
    """Whether an Archive is on any access system, or about to be."""
    return any(state != "withdrawn" for state in _states(connection, archive_id).values())


def is_placed_elsewhere(connection: Connection, archive_id: UUID) -> bool:
    """Whether an Archive is on access systems of others, or about to be."""
    states = _states(connection, archive_id)
    return any(name != ACCESS_PAGES and state != "withdrawn" for name, state in states.items())


def _states(connection: Connection, archive_id: UUID) -> dict[str, str]:
    chosen = select(Placement.destination, Placement.state).where(Placement.archive_id == archive_id)
    return {row.destination: row.state for row in connection.execute(chosen)}


def aip(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """The AIP of an Archive."""
    return connection.execute(
        select(Package.__table__).where(
            Package.archive_id == archive_id, Package.kind == PackageKind.AIP, Package.accepted
        )
    ).one_or_none()


def is_damaged(connection: Connection, package_id: UUID) -> bool:
    """Whether the copy of a package from which the pages read was found damaged, or lost."""
    damaged = select(Copy.package_id).where(
        Copy.package_id == package_id, Copy.location == STORE, Copy.state.in_([CopyState.DAMAGED, CopyState.LOST])
    )
    return connection.execute(damaged).first() is not None


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


def newest(
    connection: Connection, limit: int, *, before: tuple[datetime, UUID] | None = None, words: str = ""
) -> Sequence[AnyRow]:
    """The Archives published last before a sort key; only those that have all these words, when there are any."""
    statement = _published().order_by(Publication.published_at.desc(), Archive.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(tuple_(Publication.published_at, Archive.id) < before)
    if words:
        statement = statement.join(ArchiveIndex, ArchiveIndex.archive_id == Archive.id).where(
            matches(words, shown=True)
        )
    return connection.execute(statement).all()


def milestones(connection: Connection, every: int) -> Sequence[tuple[datetime, UUID]]:
    """The sort key of every so-manieth Archive, the oldest first: where the next part of a long list begins after."""
    order = (Publication.changed_at, Archive.id)
    numbered = (
        select(
            *order,
            func.row_number().over(order_by=order).label("number"),
            func.count().over().label("total"),
        )
        .join_from(Archive, Publication, Publication.archive_id == Archive.id)
        .where(*_conditions())
        .subquery()
    )
    rows = connection.execute(
        select(numbered.c.changed_at, numbered.c.id)
        .where(numbered.c.number % every == 0, numbered.c.number < numbered.c.total)
        .order_by(numbered.c.number)
    ).all()
    return [(row.changed_at, row.id) for row in rows]


def page(
    connection: Connection,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    source: str | None = None,
    with_withdrawn: bool = False,
) -> Sequence[AnyRow]:
    """At most `limit` Archives by time of their last publication (or withdrawal), the oldest first, after a sort key.

    `since` and `until` are both included; `source` is the name of a Source.
    """

    def selected(statement: Select[*tuple[Any, ...]], moment: InstrumentedAttribute[datetime]) -> Sequence[AnyRow]:
        statement = statement.order_by(moment, Archive.id).limit(limit)
        if after is not None:
            statement = statement.where(tuple_(moment, Archive.id) > after)
        if since is not None:
            statement = statement.where(moment >= since)
        if until is not None:
            statement = statement.where(moment <= until)
        if source is not None:
            statement = statement.where(Resource.source == source)
        return connection.execute(statement).all()

    rows = selected(_published(), Publication.changed_at)
    if with_withdrawn:
        gone = selected(_withdrawn(), Placement.updated_at)
        rows = sorted([*rows, *gone], key=lambda row: (row.changed_at, row.id))[:limit]
    return rows


def earliest(connection: Connection) -> datetime | None:
    """When the first of them was published last, or the first of those that no longer are was withdrawn."""
    published, gone = _published().subquery(), _withdrawn().subquery()
    found: datetime | None = connection.execute(
        select(
            func.least(
                select(func.min(published.c.changed_at)).scalar_subquery(),
                select(func.min(gone.c.changed_at)).scalar_subquery(),
            )
        )
    ).scalar_one()
    return found


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
