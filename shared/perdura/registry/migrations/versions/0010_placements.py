"""Placements: the records that Archives became on access systems."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the table of placements."""
    now = sa.text("clock_timestamp()")
    op.create_table(
        "placement",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'in-review', 'published', 'withdrawn')", name=op.f("ck_placement_state")
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_placement_archive_id")),
        sa.PrimaryKeyConstraint("destination", "archive_id", name=op.f("pk_placement")),
    )
    op.create_index(op.f("ix_placement_archive_id"), "placement", ["archive_id"], unique=False)
    op.execute(_RIGHTS)


_RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT, UPDATE ON placement TO perdura_app;
    END IF;
END $$
"""
