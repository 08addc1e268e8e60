"""Archivematicas: packages in a row that ended alike, and instances that refused a package."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Add three columns with constant defaults: nothing is rewritten."""
    op.execute("ALTER TABLE archivematica_instance ADD COLUMN alike integer NOT NULL DEFAULT 0")
    op.execute("ALTER TABLE archivematica_instance ADD COLUMN failing text NOT NULL DEFAULT ''")
    op.execute("ALTER TABLE archivematica_submission ADD COLUMN refused text[] NOT NULL DEFAULT '{}'")
