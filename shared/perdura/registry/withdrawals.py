"""Withdrawals as they are decided: each stands from the commit of its request on, before any step carries it out.

Whatever publishes asks for them, so that an Archive appears nowhere that it is withdrawn from: not where nothing was
noted of it yet, and not by a publication that was under way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.ids import new_id
from perdura.registry.archives import lock

EVERYWHERE = "all access systems"
LIFTED = "Withdrawal lifted"
"""What the log tells when withdrawals are lifted."""

_DECIDED = re.compile(r"Withdrawal decided, from ([^:]+): .*", re.DOTALL)

_DECIDE = text("INSERT INTO withdrawal (id, archive_id, destination) VALUES (:id, :archive, :destination)")

_LIFT = text("""
    UPDATE withdrawal SET lifted_at = clock_timestamp() WHERE archive_id = :archive AND lifted_at IS NULL
""")

_STANDING = text("SELECT destination FROM withdrawal WHERE archive_id = :archive AND lifted_at IS NULL")


def decide(connection: Connection, archive: UUID, destination: str | None) -> None:
    """Withdraw an Archive from a destination, or from all that there are and will be.

    It waits for the close of a step that published the Archive, and is waited for by one.
    """
    lock(connection, archive)
    connection.execute(_DECIDE, {"id": new_id(), "archive": archive, "destination": destination})


def decided(destination: str | None, reason: str) -> str:
    """What the log tells of a withdrawal, from which it can be read again."""
    return f"Withdrawal decided, from {destination or EVERYWHERE}: {reason}"


def after(standing: frozenset[str | None], detail: str) -> frozenset[str | None]:
    """The withdrawals that stand after what the log tells next."""
    if detail == LIFTED:
        return frozenset()
    told = _DECIDED.fullmatch(detail)
    return standing if told is None else standing | {None if told[1] == EVERYWHERE else told[1]}


def lift(connection: Connection, archive: UUID) -> None:
    """Let an Archive be published again; a record that was deleted at an access system stays deleted."""
    connection.execute(_LIFT, {"archive": archive})


def standing(connection: Connection, archive: UUID) -> Sequence[str | None]:
    """The destinations that an Archive is withdrawn from at this moment; None for all of them."""
    return connection.execute(_STANDING, {"archive": archive}).scalars().all()
