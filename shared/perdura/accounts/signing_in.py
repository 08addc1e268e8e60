"""A sign-in that is under way at the identity provider: kept here between going there and coming back.

The `state` that comes back finds it, and the cookie of the browser that began it has to come with it, so that nobody is
signed in to somebody else's account by a prepared link. It is good once, and for ten minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, insert
from sqlalchemy.engine import Connection

from perdura.accounts.credentials import digest, fresh
from perdura.accounts.tables import SignIn

LIFETIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Begun:
    """What goes to the provider (`state`, `nonce`, a challenge of `verifier`) and to the browser (`cookie`)."""

    state: str
    nonce: str
    verifier: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Returned:
    """What is needed to finish: `target` is the page that was wanted."""

    nonce: str
    verifier: str
    target: str


def begin(connection: Connection, target: str) -> Begun:
    """Begin a sign-in; those that were given up are forgotten."""
    begun = Begun(state=fresh(), nonce=fresh(), verifier=fresh(), cookie=fresh())
    connection.execute(delete(SignIn).where(SignIn.created_at < func.clock_timestamp() - LIFETIME))
    connection.execute(
        insert(SignIn).values(
            state_hash=digest(begun.state),
            browser_hash=digest(begun.cookie),
            nonce=begun.nonce,
            verifier=begun.verifier,
            target=target,
        )
    )
    return begun


def finish(connection: Connection, state: str, cookie: str) -> Returned | None:
    """The sign-in that this state and this browser belong to, which is thereby used up; None when there is none."""
    row = connection.execute(
        delete(SignIn)
        .where(
            SignIn.state_hash == digest(state),
            SignIn.browser_hash == digest(cookie),
            SignIn.created_at >= func.clock_timestamp() - LIFETIME,
        )
        .returning(SignIn.nonce, SignIn.verifier, SignIn.target)
    ).one_or_none()
    return None if row is None else Returned(row.nonce, row.verifier, row.target)
