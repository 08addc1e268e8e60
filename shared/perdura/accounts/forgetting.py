"""Forgets what has served its time: ended sessions, sign-ins that were given up, answers kept for repetitions.

Accounts, tokens, grants and the audit log are never removed.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, func, or_
from sqlalchemy.engine import Connection

from perdura.accounts.rate_buckets import forget_full
from perdura.accounts.signing_in import LIFETIME
from perdura.accounts.tables import BrowserSession, IdempotencyKey, SignIn
from perdura.settings import Settings

REPETITIONS = timedelta(hours=24)
"""How long a POST with an idempotency key may be repeated."""


def forget(connection: Connection, settings: Settings) -> None:
    """Remove what nobody can use any more."""
    now = func.clock_timestamp()
    over = or_(
        BrowserSession.created_at < now - timedelta(hours=settings.session_hours),
        BrowserSession.seen_at < now - timedelta(hours=settings.session_idle_hours),
    )
    connection.execute(delete(BrowserSession).where(over))
    connection.execute(delete(SignIn).where(SignIn.created_at < now - LIFETIME))
    forget_full(connection)
    connection.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < now - REPETITIONS))
