"""Collections, with how many of their members one may see."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives, visible_collections
from perdura.api.queries import accents
from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Archive, Collection, CollectionMember

COUNTED = 10_000
"""Members of one collection that are counted at most."""


def _members(principal: Principal) -> ColumnElement[int]:
    members = select(CollectionMember.archive_id).where(CollectionMember.collection_id == Collection.id)
    seen = visible_archives(principal)
    if not seen.compare(true()):
        members = members.join(Archive, Archive.id == CollectionMember.archive_id).where(seen)
    some = members.correlate(Collection).limit(COUNTED).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


def page(
    connection: Connection, principal: Principal, *, limit: int, after: str | None = None, part: str | None = None
) -> Sequence[AnyRow]:
    """At most `limit` collections by name, after a name; those whose name holds `part`, with or without accents."""
    statement = (
        select(Collection.__table__, _members(principal).label("archives"))
        .where(visible_collections(principal))
        .order_by(Collection.name)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(Collection.name > after)
    if part:
        statement = statement.where(accents.bared(Collection.name).icontains(accents.bare(part), autoescape=True))
    return connection.execute(statement).all()


def find(connection: Connection, principal: Principal, collection_id: UUID) -> AnyRow | None:
    """One collection that the principal may see."""
    return connection.execute(
        select(Collection.__table__, _members(principal).label("archives")).where(
            Collection.id == collection_id, visible_collections(principal)
        )
    ).one_or_none()


def named(connection: Connection, principal: Principal, name: str) -> AnyRow | None:
    """The collection of that very name, however its accents are written, if there is one that the principal may see."""
    composed = unicodedata.normalize("NFC", name)
    wanted = select(Collection.__table__).where(
        func.normalize(Collection.name) == composed, visible_collections(principal)
    )
    return connection.execute(wanted.order_by(Collection.created_at).limit(1)).one_or_none()


def names(connection: Connection, principal: Principal, *, limit: int) -> list[str]:
    """The first names, in order, of the collections that the principal may see."""
    statement = select(Collection.name).where(visible_collections(principal)).order_by(Collection.name).limit(limit)
    return list(connection.execute(statement).scalars())
