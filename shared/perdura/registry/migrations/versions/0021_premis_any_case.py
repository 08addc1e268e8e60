"""The PREMIS log: UUIDs of any case are found by an index."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the index; events cannot be recorded while it is built."""
    schema.create(op.get_bind())
