"""Deposits, with the state of the Archive each became."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Archive, Deposit


def find(connection: Connection, principal: Principal, deposit_id: UUID) -> AnyRow | None:
    """One deposit whose Archive the principal may see."""
    return connection.execute(
        select(Deposit.__table__, Archive.state)
        .join_from(Deposit, Archive, Archive.id == Deposit.archive_id)
        .where(Deposit.id == deposit_id, visible_archives(principal))
    ).one_or_none()
