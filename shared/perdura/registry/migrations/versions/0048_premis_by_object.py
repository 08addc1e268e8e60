"""The PREMIS log: the events of an object are paged from indexes alone."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    """Replace two indexes; events cannot be recorded while they are built."""
    schema.create(op.get_bind())
