"""Archives: listings by keyset, counts, and everything that one Archive's page shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, or_, select, tuple_
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Archive, Copy, Package, Publication, Resource, Step

_SEARCHED = "to_tsvector('simple', archive.title || ' ' || coalesce(archive.metadata ->> 'description', ''))"
"""The very expression of the index `ix_archive_search`."""

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which Archives are wanted; an empty criterion lets all through."""

    states: tuple[str, ...] = ()
    source: str | None = None
    text: str | None = None


def _matches(text: str) -> ColumnElement[bool]:
    """Archives whose text has a word beginning with each word of `text`, or whose id or recid it is."""
    terms = " & ".join(f"{word}:*" for word in _WORD.findall(text))
    ways: list[ColumnElement[bool]] = [Resource.recid == text.strip()]
    if terms:
        vector: ColumnElement[Any] = literal_column(_SEARCHED)
        ways.append(vector.bool_op("@@")(func.to_tsquery(literal_column("'simple'"), terms)))
    with suppress(ValueError):
        ways.append(Archive.id == UUID(text.strip()))
    return or_(*ways)


def _conditions(criteria: Criteria, principal: Principal) -> list[ColumnElement[bool]]:
    conditions = [visible_archives(principal)]
    if criteria.states:
        conditions.append(Archive.state.in_(criteria.states))
    if criteria.source is not None:
        conditions.append(Resource.source == criteria.source)
    if criteria.text is not None and criteria.text.strip():
        conditions.append(_matches(criteria.text))
    return conditions


def _newest_size() -> ColumnElement[int | None]:
    """Bytes of the newest AIP, else of the newest other package, of the Archive of the outer query."""
    return (
        select(Package.size)
        .where(Package.archive_id == Archive.id)
        .order_by(Package.kind, Package.created_at.desc())
        .limit(1)
        .correlate(Archive)
        .scalar_subquery()
    )


def page(
    connection: Connection,
    principal: Principal,
    criteria: Criteria,
    *,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> Sequence[AnyRow]:
    """At most `limit` Archives, newest first, after the one with the sort key `after`."""
    statement = (
        select(
            Archive.id,
            Archive.title,
            Archive.state,
            Archive.origin,
            Archive.restricted,
            Archive.created_at,
            Archive.updated_at,
            Resource.source,
            Resource.recid,
            _newest_size().label("size"),
        )
        .outerjoin(Resource, Resource.id == Archive.resource_id)
        .where(*_conditions(criteria, principal))
        .order_by(Archive.created_at.desc(), Archive.id.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(Archive.created_at, Archive.id) < after)
    return connection.execute(statement).all()


def counts_by_state(connection: Connection, principal: Principal, criteria: Criteria) -> Mapping[str, int]:
    """How many Archives match in each state; the states in `criteria` are left out of account."""
    rest = Criteria(source=criteria.source, text=criteria.text)
    statement = select(Archive.state, func.count()).where(*_conditions(rest, principal)).group_by(Archive.state)
    if rest.source is not None or rest.text is not None:
        statement = statement.outerjoin_from(Archive, Resource, Resource.id == Archive.resource_id)
    return {row[0]: row[1] for row in connection.execute(statement)}


def sources(connection: Connection) -> Sequence[str]:
    """Names of the Sources from which something was harvested."""
    return connection.execute(select(Resource.source).distinct().order_by(Resource.source)).scalars().all()


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """One Archive and all that belongs to it except its files and events."""

    archive: AnyRow
    packages: Sequence[AnyRow]
    copies: Sequence[AnyRow]
    steps: Sequence[AnyRow]
    publications: Sequence[AnyRow]


def find(connection: Connection, principal: Principal, archive_id: UUID) -> AnyRow | None:
    """The row of one Archive with its Resource, when there is one that the principal may see."""
    statement = (
        select(Archive.__table__, Resource.source, Resource.recid)
        .outerjoin_from(Archive, Resource, Resource.id == Archive.resource_id)
        .where(Archive.id == archive_id, visible_archives(principal))
    )
    return connection.execute(statement).one_or_none()


def record(connection: Connection, principal: Principal, archive_id: UUID) -> ArchiveRecord | None:
    """Everything on one Archive in five statements."""
    archive = find(connection, principal, archive_id)
    if archive is None:
        return None
    return ArchiveRecord(
        archive=archive,
        packages=packages(connection, archive_id),
        copies=copies(connection, archive_id),
        steps=steps(connection, archive_id),
        publications=connection.execute(
            select(Publication.__table__).where(Publication.archive_id == archive_id).order_by(Publication.published_at)
        ).all(),
    )


def packages(connection: Connection, archive_id: UUID) -> Sequence[AnyRow]:
    """Packages of an Archive, oldest first."""
    return connection.execute(
        select(Package.__table__).where(Package.archive_id == archive_id).order_by(Package.created_at, Package.id)
    ).all()


def copies(connection: Connection, archive_id: UUID) -> Sequence[AnyRow]:
    """Copies of all packages of an Archive."""
    return connection.execute(
        select(Copy.__table__, Package.kind)
        .join_from(Copy, Package, Package.id == Copy.package_id)
        .where(Package.archive_id == archive_id)
        .order_by(Package.kind, Copy.location)
    ).all()


def steps(connection: Connection, archive_id: UUID) -> Sequence[AnyRow]:
    """All attempts of all steps of an Archive, in the order of the pipeline."""
    return connection.execute(
        select(Step.__table__).where(Step.archive_id == archive_id).order_by(Step.position, Step.attempt)
    ).all()


def package(connection: Connection, principal: Principal, package_id: UUID) -> AnyRow | None:
    """One package of an Archive that the principal may see."""
    return connection.execute(
        select(Package.__table__)
        .join_from(Package, Archive, Archive.id == Package.archive_id)
        .where(Package.id == package_id, visible_archives(principal))
    ).one_or_none()


def archives_of_resource(connection: Connection, principal: Principal, source: str, recid: str) -> Sequence[UUID]:
    """Archives of one Resource that the principal may see, newest first."""
    return (
        connection.execute(
            select(Archive.id)
            .join(Resource, Resource.id == Archive.resource_id)
            .where(Resource.source == source, Resource.recid == recid, visible_archives(principal))
            .order_by(Archive.created_at.desc())
            .limit(20)
        )
        .scalars()
        .all()
    )
