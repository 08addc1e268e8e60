"""Payload files of packages, by path."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Package, PackageFile


def best_package(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """The package that stands for the content of an Archive: its AIP, else its newest accepted one, else the newest."""
    return connection.execute(
        select(Package.__table__)
        .where(Package.archive_id == archive_id)
        .order_by(Package.accepted.desc(), Package.kind, Package.created_at.desc())
        .limit(1)
    ).one_or_none()


def best_of(packages: Sequence[AnyRow]) -> AnyRow | None:
    """The same of packages that were read already, oldest first."""
    newest_first = list(packages)[::-1]
    newest_first.sort(key=lambda package: (not package.accepted, package.kind))
    return newest_first[0] if newest_first else None


def page(
    connection: Connection,
    package_id: UUID,
    *,
    limit: int,
    after: str | None = None,
    prefix: str | None = None,
    words: str = "",
) -> Sequence[AnyRow]:
    """At most `limit` files of a package by path: it follows `after`, begins with `prefix`, has `words` behind that."""
    statement = (
        select(PackageFile.__table__)
        .where(PackageFile.package_id == package_id)
        .order_by(PackageFile.path)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(PackageFile.path > after)
    if prefix:
        statement = statement.where(PackageFile.path >= prefix, PackageFile.path.startswith(prefix, autoescape=True))
    if words:
        rest = func.substr(PackageFile.path, len(prefix or "") + 1)
        statement = statement.where(rest.icontains(words, autoescape=True))
    return connection.execute(statement).all()


def one(connection: Connection, package_id: UUID, path: str) -> AnyRow | None:
    """One file of a package."""
    return connection.execute(
        select(PackageFile.__table__).where(PackageFile.package_id == package_id, PackageFile.path == path)
    ).one_or_none()
