"""Embargoes decided by hand: the day that a person set, or the lifting of one, holds whatever a Source says later.

It is kept as `embargo_by_hand` in the metadata of the Archive; a step that ends leaves the embargo alone then.
"""

from __future__ import annotations

from datetime import date
from uuid import UUID

from sqlalchemy import Connection, text

_SET = text("""
    UPDATE archive SET updated_at = clock_timestamp(), metadata = metadata || jsonb_build_object(
        'embargo_until', CAST(:until AS text), 'embargo_by_hand', true)
    WHERE id = :archive
""")


def decide(connection: Connection, archive: UUID, until: date | None) -> None:
    """Put an Archive under an embargo until a day, or lift it; the caller says so in the PREMIS log."""
    connection.execute(_SET, {"archive": archive, "until": until.isoformat() if until else None})
