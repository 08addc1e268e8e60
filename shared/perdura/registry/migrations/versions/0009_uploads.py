"""Uploads in parts, content that is kept once, the retention of packages, and what the object store can do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add them."""
    op.add_column("deposit", sa.Column("upload_id", sa.Text(), nullable=True))
    op.add_column("deposit", sa.Column("part_size", sa.BigInteger(), nullable=True))
    op.add_column("package", sa.Column("retain_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_deposit_sha256", "deposit", ["sha256"], postgresql_where=sa.text("sha256 IS NOT NULL"))
    op.create_table(
        "content",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_content_archive_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_content")),
    )
    op.create_index(op.f("ix_content_archive_id"), "content", ["archive_id"])
    op.create_table(
        "store_capability",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("found", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("probed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.PrimaryKeyConstraint("endpoint", name=op.f("pk_store_capability")),
    )
