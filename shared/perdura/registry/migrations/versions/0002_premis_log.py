"""The PREMIS log: append-only tables, their functions, partitions and rights."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the log."""
    schema.create(op.get_bind())
