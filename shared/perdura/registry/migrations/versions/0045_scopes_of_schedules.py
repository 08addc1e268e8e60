"""Schedules and subscriptions keep the scopes of the tokens with which they were made."""

from __future__ import annotations

from alembic import op

revision = "0045"
down_revision = "0044"


def upgrade() -> None:
    """Add the columns; what is there already was narrowed by nothing."""
    for table in ("schedule", "subscription"):
        op.get_bind().exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN scopes text[]")
