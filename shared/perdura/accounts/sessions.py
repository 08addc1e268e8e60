"""Sessions of browsers: in the database, so that they can be ended, with a secret that changes while they are used.

A renewed secret is sent while the old one still holds; once the browser has shown the new one, the old one is good for
a moment only (requests that were under way). Whoever shows it later has copied it: the session is ended for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hmac import compare_digest
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Connection

from perdura.accounts.credentials import digest, fresh
from perdura.accounts.directory import active, principal_of
from perdura.accounts.principals import Principal
from perdura.accounts.tables import Account, BrowserSession
from perdura.database import AnyRow
from perdura.ids import new_id
from perdura.settings import Settings

GRACE = timedelta(seconds=60)
NOTE_USE_AFTER = timedelta(seconds=60)


class Verdict(StrEnum):
    """What a shown secret is to its session."""

    CURRENT = "current"
    RENEWED = "renewed"
    """The one that was offered last: it becomes the current one."""
    UNDER_WAY = "under-way"
    """The one before, within the moment that requests under way have."""
    COPIED = "copied"
    """The one before, after that moment."""
    EXPIRED = "expired"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser: the token for its forms, and the cookie it is to keep from now on if that changes."""

    id: UUID
    csrf: str
    cookie: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Whose session a cookie is; `copied` when the session was ended because its cookie was used by two."""

    principal: Principal | None
    session: Session | None
    copied: bool = False


NOTHING = Found(None, None)


def begin(connection: Connection, account_id: UUID) -> Session:
    """Begin a session."""
    session_id, secret, csrf = new_id(), fresh(), fresh()
    connection.execute(
        insert(BrowserSession).values(id=session_id, account_id=account_id, secret_hash=digest(secret), csrf=csrf)
    )
    return Session(session_id, csrf, f"{session_id}.{secret}")


def end(connection: Connection, session_id: UUID) -> None:
    """End a session."""
    connection.execute(delete(BrowserSession).where(BrowserSession.id == session_id))


def end_all(connection: Connection, account_id: UUID) -> None:
    """End every session of an account."""
    connection.execute(delete(BrowserSession).where(BrowserSession.account_id == account_id))


def find(connection: Connection, cookie: str, settings: Settings, now: datetime | None = None) -> Found:
    """The session of a cookie; renews its secret when it is old, ends it when it has expired or was copied."""
    identifier, _, secret = cookie.partition(".")
    try:
        session_id = UUID(identifier)
    except ValueError:
        return NOTHING
    row = connection.execute(
        select(*_ACCOUNT, *_KEPT)
        .join_from(BrowserSession, Account, Account.id == BrowserSession.account_id)
        .where(BrowserSession.id == session_id, active(settings))
    ).one_or_none()
    if row is None:
        return NOTHING
    now = now or datetime.now(UTC)
    verdict = judge(row, digest(secret), now, settings)
    if verdict is Verdict.WRONG:
        return NOTHING
    if verdict in {Verdict.COPIED, Verdict.EXPIRED}:
        end(connection, session_id)
        return Found(principal_of(row, "session"), None, copied=verdict is Verdict.COPIED)
    offered = _note_use(connection, session_id, row, verdict, now, settings)
    return Found(
        principal_of(row, "session"),
        Session(session_id, row.csrf, None if offered is None else f"{session_id}.{offered}"),
    )


_ACCOUNT = (Account.id, Account.name, Account.roles, Account.claimed_roles, Account.groups)
_KEPT = (
    BrowserSession.secret_hash,
    BrowserSession.pending_hash,
    BrowserSession.previous_hash,
    BrowserSession.csrf,
    BrowserSession.created_at.label("begun_at"),
    BrowserSession.seen_at,
    BrowserSession.rotated_at,
    BrowserSession.offered_at,
)


class Kept(Protocol):
    """What is kept of a session."""

    @property
    def secret_hash(self) -> bytes:
        """Digest of the secret."""
        ...

    @property
    def pending_hash(self) -> bytes | None:
        """Digest of the secret that was offered."""
        ...

    @property
    def previous_hash(self) -> bytes | None:
        """Digest of the secret before this one."""
        ...

    @property
    def begun_at(self) -> datetime:
        """Time of the sign-in."""
        ...

    @property
    def seen_at(self) -> datetime:
        """Time of the last use, give or take `NOTE_USE_AFTER`."""
        ...

    @property
    def rotated_at(self) -> datetime:
        """Since when the secret is the secret."""
        ...


def judge(kept: Kept | AnyRow, shown: bytes, now: datetime, settings: Settings) -> Verdict:
    """What the digest of a shown secret is to a session."""
    if kept.previous_hash is not None and compare_digest(shown, kept.previous_hash):
        return Verdict.UNDER_WAY if now - kept.rotated_at <= GRACE else Verdict.COPIED
    current = compare_digest(shown, kept.secret_hash)
    if not current and (kept.pending_hash is None or not compare_digest(shown, kept.pending_hash)):
        return Verdict.WRONG
    if now - kept.begun_at > timedelta(hours=settings.session_hours):
        return Verdict.EXPIRED
    if now - kept.seen_at > timedelta(hours=settings.session_idle_hours):
        return Verdict.EXPIRED
    return Verdict.CURRENT if current else Verdict.RENEWED


def _note_use(
    connection: Connection, session_id: UUID, row: AnyRow, verdict: Verdict, now: datetime, settings: Settings
) -> str | None:
    """Note that the session is used; returns the secret to offer, if it is time for another one."""
    values: dict[str, Any] = {}
    offer = None
    if verdict is Verdict.RENEWED:
        values = {
            "secret_hash": row.pending_hash,
            "previous_hash": row.secret_hash,
            "pending_hash": None,
            "offered_at": None,
            "rotated_at": now,
        }
    elif verdict is Verdict.CURRENT and _is_due(row, now, settings):
        offer = fresh()
        values = {"pending_hash": digest(offer), "offered_at": now}
    if values or now - row.seen_at > NOTE_USE_AFTER:
        guarded = update(BrowserSession).where(
            BrowserSession.id == session_id, BrowserSession.secret_hash == row.secret_hash
        )
        done = connection.execute(guarded.values(seen_at=now, **values))
        return offer if done.rowcount else None
    return None


def _is_due(row: AnyRow, now: datetime, settings: Settings) -> bool:
    old = now - row.rotated_at > timedelta(minutes=settings.session_renew_minutes)
    return old and (row.offered_at is None or now - row.offered_at > GRACE)
