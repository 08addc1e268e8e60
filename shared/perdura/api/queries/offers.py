"""What the access pages offer of published Archives: their packages, and the files that readers may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, select
from sqlalchemy.engine import Connection

from perdura.api.queries.rows import AnyRow
from perdura.registry.access_tables import Offer, OfferFile
from perdura.registry.tables import Package, PackageFile


def find(connection: Connection, archive_id: UUID) -> AnyRow | None:
    """The AIP that is offered of an Archive, with `content`, and number (`files`) and `file_bytes` of its files."""
    return connection.execute(
        select(Package.__table__, Offer.content, Offer.files, Offer.file_bytes)
        .join_from(Offer, Package, Package.id == Offer.package_id)
        .where(Offer.archive_id == archive_id)
    ).one_or_none()


def _files(archive_id: UUID) -> Select[*tuple[Any, ...]]:
    return (
        select(PackageFile.__table__, OfferFile.name)
        .join_from(OfferFile, Offer, Offer.archive_id == OfferFile.archive_id)
        .join(PackageFile, and_(PackageFile.package_id == Offer.package_id, PackageFile.path == OfferFile.path))
        .where(OfferFile.archive_id == archive_id)
    )


def page(
    connection: Connection, archive_id: UUID, *, limit: int, after: str | None = None, words: str = ""
) -> Sequence[AnyRow]:
    """At most `limit` files by their `name` there, which follows `after` and has `words` in it."""
    statement = _files(archive_id).order_by(OfferFile.name).limit(limit)
    if after is not None:
        statement = statement.where(OfferFile.name > after)
    if words:
        statement = statement.where(OfferFile.name.icontains(words, autoescape=True))
    return connection.execute(statement).all()


def one(connection: Connection, archive_id: UUID, path: str) -> AnyRow | None:
    """One file by its path in the AIP."""
    return connection.execute(_files(archive_id).where(OfferFile.path == path)).one_or_none()


def extents(connection: Connection, archive_id: UUID, *, limit: int) -> Sequence[AnyRow]:
    """`name`, `offset` and `size` of at most `limit` files in the order in which they lie in the AIP."""
    return connection.execute(
        _files(archive_id)
        .with_only_columns(OfferFile.name, PackageFile.offset, PackageFile.size)
        .order_by(PackageFile.offset)
        .limit(limit)
    ).all()
