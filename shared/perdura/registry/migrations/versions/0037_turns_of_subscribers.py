"""Accounts take turns at being told."""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"


def upgrade() -> None:
    """Add when it was last a subscription's turn."""
    op.get_bind().exec_driver_sql("ALTER TABLE subscription ADD COLUMN tried_at timestamptz")
