"""The files of packages as the registry knows them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, select

from perdura.outcome import File
from perdura.registry.tables import PackageFile


def page(connection: Connection, package: UUID, *, after: str, limit: int) -> Sequence[File]:
    """At most so many files of a package, those that follow the path `after`, in the order of their paths."""
    rows = connection.execute(
        select(PackageFile.path, PackageFile.size, PackageFile.checksums)
        .where(PackageFile.package_id == package, PackageFile.path > after)
        .order_by(PackageFile.path)
        .limit(limit)
    )
    return [File(row.path, row.size, row.checksums) for row in rows]
