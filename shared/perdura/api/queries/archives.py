"""One Archive: everything that its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, false, func, literal_column, or_, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import trusted_archives, visible_archives, visible_collections
from perdura.api.queries.rows import AnyRow
from perdura.clients.destinations import ACCESS_PAGES
from perdura.registry import embargo
from perdura.registry.tables import (
    Archive,
    Collection,
    CollectionMember,
    Copy,
    Deposit,
    Package,
    Publication,
    Resource,
    Step,
)
from perdura.registry.transitions import ERRAND_POSITION


@dataclass(frozen=True, slots=True)
class Placed:
    """A copy of a package, and the kind of the package."""

    package_id: UUID
    kind: str
    location: str
    uri: str
    size: int
    checksums: dict[str, str]
    verified_at: datetime | None
    state: str


@dataclass(frozen=True, slots=True)
class Published:
    """Where an Archive is published, and since when."""

    destination: str
    url: str
    published_at: datetime


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """One Archive and all that belongs to it except its files and events."""

    archive: AnyRow
    packages: Sequence[AnyRow]
    copies: Sequence[Placed]
    steps: Sequence[AnyRow]
    publications: Sequence[Published]


def find(connection: Connection, principal: Principal, archive_id: UUID) -> AnyRow | None:
    """The row of one Archive with its Resource, when there is one that the principal may see.

    `trusted` says whether an embargo does not concern them.
    """
    return connection.execute(_one(principal, archive_id)).one_or_none()


def _one(principal: Principal, archive_id: UUID) -> Select[*tuple[Any, ...]]:
    return (
        select(Archive.__table__, Resource.source, Resource.recid, trusted_archives(principal).label("trusted"))
        .outerjoin_from(Archive, Resource, Resource.id == Archive.resource_id)
        .where(Archive.id == archive_id, visible_archives(principal))
    )


def shut_until(archive: AnyRow) -> date | None:
    """The day until which its files are shut to those for whom `find` read an Archive; None when they are open."""
    return None if archive.trusted else embargo.ends(archive.metadata, datetime.now(UTC))


def record(connection: Connection, principal: Principal, archive_id: UUID) -> ArchiveRecord | None:
    """Everything on one Archive in three statements; `is_from` of its row says whether it is the principal's own."""
    columns = (Publication.destination, Publication.url, Publication.published_at)
    published = [
        select(func.array_agg(aggregate_order_by(column, Publication.published_at)))
        .where(Publication.archive_id == Archive.id)
        .scalar_subquery()
        .label(f"publication_{column.key}s")
        for column in columns
    ]
    mine = _from(principal).label("is_from")
    archive = connection.execute(_one(principal, archive_id).add_columns(*published, mine)).one_or_none()
    if archive is None:
        return None
    told = (archive.publication_destinations, archive.publication_urls, archive.publication_published_ats)
    packages, copies = _held(connection, archive_id)
    return ArchiveRecord(
        archive=archive,
        packages=packages,
        copies=copies,
        steps=steps(connection, archive_id),
        publications=[Published(*each) for each in zip(*(values or () for values in told), strict=True)],
    )


def _held(connection: Connection, archive_id: UUID) -> tuple[Sequence[AnyRow], Sequence[Placed]]:
    """Packages of an Archive, oldest first, and the copies of all of them."""
    rows = connection.execute(
        select(Package.__table__, *(column.label(f"copy_{column.name}") for column in Copy.__table__.c))
        .outerjoin_from(Package, Copy, Copy.package_id == Package.id)
        .where(Package.archive_id == archive_id)
        .order_by(Package.created_at, Package.id)
    ).all()
    copies = [
        Placed(
            package_id=row.id,
            kind=row.kind,
            location=row.copy_location,
            uri=row.copy_uri,
            size=row.copy_size,
            checksums=row.copy_checksums,
            verified_at=row.copy_verified_at,
            state=row.copy_state,
        )
        for row in rows
        if row.copy_location is not None
    ]
    packages = {row.id: row for row in rows}
    return list(packages.values()), sorted(copies, key=lambda copy: (copy.kind, copy.location))


def is_from(connection: Connection, principal: Principal, archive_id: UUID) -> bool:
    """Whether the principal handed the Archive in, announced it, or had it harvested."""
    return bool(connection.execute(select(_from(principal)).where(Archive.id == archive_id)).scalar())


def _from(principal: Principal) -> ColumnElement[bool]:
    """The same as a condition on `archive` rows."""
    if principal.account is None:
        return false()
    handed_in = exists().where(Deposit.archive_id == Archive.id, Deposit.account_id == principal.account)
    asked_for = exists().where(
        Step.archive_id == Archive.id,
        Step.position == 0,
        Step.input["requested_by"].astext == str(principal.account),
    )
    return or_(handed_in, asked_for)


def published_elsewhere(connection: Connection, archive_id: UUID) -> list[str]:
    """Addresses of an Archive in access systems of others."""
    statement = select(Publication.url).where(
        Publication.archive_id == archive_id, Publication.destination != ACCESS_PAGES
    )
    return list(connection.execute(statement.order_by(Publication.url)).scalars())


LAST_ATTEMPTS = 20
"""Attempts of one step of the pipeline, and steps beside it, that are shown with an Archive."""


def steps(connection: Connection, archive_id: UUID) -> Sequence[AnyRow]:
    """The last attempts of each step of an Archive, in the order of the pipeline; the last steps beside it behind."""
    recency = func.row_number().over(
        partition_by=func.least(Step.position, ERRAND_POSITION), order_by=(Step.position.desc(), Step.attempt.desc())
    )
    ranked = select(Step.__table__, recency.label("recency")).where(Step.archive_id == archive_id).subquery()
    shown = select(ranked).where(ranked.c.recency <= LAST_ATTEMPTS)
    return connection.execute(shown.order_by(ranked.c.position, ranked.c.attempt)).all()


def attempts(
    connection: Connection, archive_id: UUID, *, limit: int, after: tuple[int, int] = (0, 0)
) -> Sequence[AnyRow]:
    """At most `limit` attempts of all steps of an Archive by (position, attempt), after that place."""
    return connection.execute(
        select(Step.__table__)
        .where(Step.archive_id == archive_id, tuple_(Step.position, Step.attempt) > after)
        .order_by(Step.position, Step.attempt)
        .limit(limit)
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


@dataclass(frozen=True, slots=True)
class Related:
    """Archives of the same Resource, this one among them, newest first; and the first collections it is in, by name."""

    versions: Sequence[AnyRow]
    collections: Sequence[AnyRow]
    more_collections: bool


COLLECTIONS_SHOWN = 50
"""Collections that are shown with an Archive."""


def related(connection: Connection, principal: Principal, archive: AnyRow, limit: int = 20) -> Related:
    """What an Archive belongs together with, as far as the principal may see it, in one statement."""
    kind: ColumnElement[str] = literal_column("'version'").label("kind")
    versions = (
        select(kind, Archive.id, Archive.title.label("name"), Archive.state, Archive.created_at)
        .where(
            Archive.resource_id == archive.resource_id, Archive.resource_id.is_not(None), visible_archives(principal)
        )
        .order_by(Archive.created_at.desc())
        .limit(limit)
    )
    collections: Select[*tuple[Any, ...]] = (
        select(
            literal_column("'collection'").label("kind"), Collection.id, Collection.name,
            literal_column("''").label("state"), Collection.created_at,
        )
        .join(CollectionMember, CollectionMember.collection_id == Collection.id)
        .where(CollectionMember.archive_id == archive.id, visible_collections(principal))
        .order_by(Collection.name)
        .limit(COLLECTIONS_SHOWN + 1)
    )  # fmt: skip
    both = union_all(select(versions.subquery()), select(collections.subquery()))
    rows = connection.execute(both).all()
    together = sorted((row for row in rows if row.kind == "collection"), key=lambda row: str(row.name))
    return Related(
        versions=[row for row in rows if row.kind == "version"],
        collections=together[:COLLECTIONS_SHOWN],
        more_collections=len(together) > COLLECTIONS_SHOWN,
    )
