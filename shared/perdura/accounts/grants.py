"""Grants: who may see which restricted Archive or Collection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Connection

from perdura.accounts.tables import Grant
from perdura.database import AnyRow
from perdura.ids import new_id


def give(
    connection: Connection,
    *,
    given_by: str,
    account: UUID | None,
    group: str | None,
    archive: UUID | None,
    collection: UUID | None,
) -> AnyRow:
    """A grant of one Archive or Collection to one account or group; the one that is there already, if it is."""
    values = {"account_id": account, "group_name": group, "archive_id": archive, "collection_id": collection}
    statement = insert(Grant).values(id=new_id(), given_by=given_by, **values)
    statement = statement.on_conflict_do_update(constraint="uq_access_grant", set_={"given_by": Grant.given_by})
    return connection.execute(statement.returning(*Grant.__table__.c)).one()


def take_back(connection: Connection, grant_id: UUID) -> AnyRow | None:
    """End a grant; None when there is none."""
    return connection.execute(delete(Grant).where(Grant.id == grant_id).returning(*Grant.__table__.c)).one_or_none()


def page(
    connection: Connection,
    *,
    account: UUID | None = None,
    group: str | None = None,
    archive: UUID | None = None,
    collection: UUID | None = None,
    own: bool | None = None,
    limit: int,
    after: tuple[datetime, UUID] | None,
) -> Sequence[AnyRow]:
    """At most `limit` grants, the newest first; `own` are those of makers, which nobody gave."""
    wanted = {
        Grant.account_id: account,
        Grant.group_name: group,
        Grant.archive_id: archive,
        Grant.collection_id: collection,
    }
    conditions = [column == value for column, value in wanted.items() if value is not None]
    if own is not None:
        conditions.append(Grant.own.is_(own))
    if after is not None:
        conditions.append(tuple_(Grant.created_at, Grant.id) < after)
    statement = select(Grant.__table__).where(*conditions).order_by(Grant.created_at.desc(), Grant.id.desc())
    return connection.execute(statement.limit(limit)).all()
