"""Copies in the object store by when they were last verified: the relay looks for those that are due every few seconds."""

from __future__ import annotations

from alembic import op

revision = "0047"
down_revision = "0046"


def upgrade() -> None:
    """Index them, those that were never verified first. Copies on tape, which are not read for years, are left out."""
    op.get_bind().exec_driver_sql(
        "CREATE INDEX ix_copy_audit ON copy (coalesce(verified_at, '-infinity'::timestamptz)) "
        "WHERE location = 'object-store' AND state = 'held'"
    )
