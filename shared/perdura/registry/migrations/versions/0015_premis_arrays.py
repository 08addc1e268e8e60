"""The PREMIS log: events are added as arrays."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Replace the functions of the log."""
    schema.create(op.get_bind())
