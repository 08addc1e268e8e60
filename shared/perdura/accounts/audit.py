"""The audit log: every act that changed something, in the transaction of the act, and every act that was denied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.engine import Connection

from perdura.accounts.principals import Principal
from perdura.accounts.tables import AuditEntry
from perdura.database import AnyRow

DONE, DENIED = "done", "denied"
OBJECTS_NAMED = 1000
"""Ids of things that one entry names at most; a larger act says in its detail how many it touched."""
PATH_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Act:
    """One act: `action` is the name of the operation or page, `objects` the ids it was about.

    Neither query strings nor bodies are kept: `detail` holds what the operation itself found worth keeping.
    """

    action: str
    outcome: str
    method: str
    path: str
    status: int
    objects: Iterable[str] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None


def record(connection: Connection, principal: Principal, act: Act) -> None:
    """Add an entry, in the caller's transaction."""
    connection.execute(insert(AuditEntry).values(detail=dict(act.detail), **columns(principal, act)))


def columns(principal: Principal, act: Act) -> dict[str, Any]:
    """The columns of an entry, without `detail`."""
    return {
        "account_id": principal.account,
        "actor": principal.name,
        "means": principal.means,
        "action": act.action,
        "outcome": act.outcome,
        "method": act.method,
        "path": act.path[:PATH_LIMIT].replace("\x00", "\ufffd"),
        "status": act.status,
        "objects": list(dict.fromkeys(act.objects))[:OBJECTS_NAMED],
        "address": act.address,
    }


@dataclass(frozen=True, slots=True)
class Criteria:
    """Which entries are wanted; an empty criterion lets all through."""

    account: UUID | None = None
    action: str | None = None
    outcome: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def page(connection: Connection, criteria: Criteria, *, limit: int, before: int | None) -> Sequence[AnyRow]:
    """At most `limit` entries written before the one with the sequence number `before`, the newest first."""
    conditions = []
    if criteria.account is not None:
        conditions.append(AuditEntry.account_id == criteria.account)
    if criteria.action is not None:
        conditions.append(AuditEntry.action == criteria.action)
    if criteria.outcome is not None:
        conditions.append(AuditEntry.outcome == criteria.outcome)
    if criteria.object is not None:
        conditions.append(AuditEntry.objects.contains([criteria.object]))
    if criteria.since is not None:
        conditions.append(AuditEntry.at >= criteria.since)
    if criteria.until is not None:
        conditions.append(AuditEntry.at < criteria.until)
    if before is not None:
        conditions.append(AuditEntry.sequence < before)
    statement = select(AuditEntry.__table__).where(*conditions).order_by(AuditEntry.sequence.desc()).limit(limit)
    return connection.execute(statement).all()
