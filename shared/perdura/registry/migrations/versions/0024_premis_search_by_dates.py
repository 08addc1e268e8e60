"""The PREMIS log: searches by dates are answered from indexes alone."""

from __future__ import annotations

from alembic import op

from perdura.premis import schema

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Replace two indexes; events cannot be recorded while they are built."""
    schema.create(op.get_bind())
