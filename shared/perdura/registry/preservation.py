"""How Archives are to be preserved, where somebody said so, and the versions of their AIPs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


def wish(connection: Connection, archive: UUID) -> Mapping[str, Any]:
    """How an Archive is to be preserved, as far as anybody said."""
    found = connection.execute(
        text("SELECT wish FROM preservation_wish WHERE archive_id = :archive"), {"archive": archive}
    ).scalar_one_or_none()
    return found or {}


def note_wish(connection: Connection, archive: UUID, wished: Mapping[str, Any]) -> None:
    """Say how an Archive is to be preserved; members not named stay as they were said before."""
    if not wished:
        return
    connection.execute(
        text("""
            INSERT INTO preservation_wish (archive_id, wish) VALUES (:archive, CAST(:wish AS jsonb))
            ON CONFLICT (archive_id) DO UPDATE SET wish = preservation_wish.wish || excluded.wish,
                updated_at = clock_timestamp()
        """),
        {"archive": archive, "wish": json.dumps(dict(wished))},
    )
