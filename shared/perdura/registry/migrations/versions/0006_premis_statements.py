"""The PREMIS log: one statement records an event and what tells of it."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Replace the functions of the log."""
    schema.create(op.get_bind())
