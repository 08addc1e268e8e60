"""Deposits, with the state of the Archive each became."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Archive, Deposit, Step
from perdura.registry.transitions import ArchiveState


def find(connection: Connection, principal: Principal, deposit_id: UUID) -> AnyRow | None:
    """One deposit whose Archive the principal may see."""
    duplicate = (
        select(Step.output["duplicate_of"].astext)
        .where(Step.archive_id == Archive.id, Step.name == "ingest", Step.output.has_key("duplicate_of"))
        .limit(1)
        .scalar_subquery()
    )
    return connection.execute(
        select(Deposit.__table__, Archive.state, duplicate.label("duplicate_of"))
        .join_from(Deposit, Archive, Archive.id == Deposit.archive_id)
        .where(Deposit.id == deposit_id, visible_archives(principal))
    ).one_or_none()


_HOLDS_NOTHING = (ArchiveState.REJECTED, ArchiveState.FAILED, ArchiveState.CANCELLED)


def of_the_same_file(connection: Connection, principal: Principal, sha256: str, size: int) -> AnyRow | None:
    """An earlier deposit of the very same file that was accepted, and that the principal may see."""
    return connection.execute(
        select(Deposit.id, Deposit.archive_id)
        .join_from(Deposit, Archive, Archive.id == Deposit.archive_id)
        .where(
            Deposit.sha256 == sha256,
            Deposit.size == size,
            Archive.content_sha256.is_not(None),
            Archive.state.not_in(_HOLDS_NOTHING),
            visible_archives(principal),
        )
        .order_by(Deposit.created_at)
        .limit(1)
    ).one_or_none()
