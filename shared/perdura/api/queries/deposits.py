"""Deposits, with the state of the Archive each became."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, tuple_
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Permission, Principal
from perdura.accounts.rights import visible_archives
from perdura.api.queries.rows import AnyRow
from perdura.registry.tables import Archive, Deposit, Step
from perdura.registry.transitions import ArchiveState


def _seen_by(principal: Principal) -> Select[Any]:
    """Deposits whose Archive the principal may see."""
    duplicate = (
        select(Step.output["duplicate_of"].astext)
        .where(Step.archive_id == Archive.id, Step.name == "ingest", Step.output.has_key("duplicate_of"))
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(Deposit.__table__, Archive.state, duplicate.label("duplicate_of"))
        .join_from(Deposit, Archive, Archive.id == Deposit.archive_id)
        .where(visible_archives(principal))
    )


def find(connection: Connection, principal: Principal, deposit_id: UUID) -> AnyRow | None:
    """One deposit whose Archive the principal may see."""
    return connection.execute(_seen_by(principal).where(Deposit.id == deposit_id)).one_or_none()


def page(
    connection: Connection, principal: Principal, *, waiting: bool, limit: int, after: tuple[datetime, UUID] | None
) -> Sequence[AnyRow]:
    """At most `limit` deposits, newest first: those of the principal, or all for who may operate.

    With `waiting` only those whose bytes are still waited for.
    """
    statement = _seen_by(principal).order_by(Deposit.created_at.desc(), Deposit.id.desc()).limit(limit)
    if not principal.may(Permission.OPERATE):
        statement = statement.where(Deposit.account_id == principal.account)
    if waiting:
        statement = statement.where(Deposit.received_at.is_(None), Deposit.cancelled_at.is_(None))
    if after is not None:
        statement = statement.where(tuple_(Deposit.created_at, Deposit.id) < after)
    return connection.execute(statement).all()


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
