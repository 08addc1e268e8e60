"""Tape: the jobs asked for, the state of the destination, and the containers of small AIPs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables, an index of what recalls left behind, and the rights of the application."""
    now = sa.text("clock_timestamp()")
    op.create_table(
        "tape_destination",
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=True),
        sa.Column("pause_reason", sa.Text(), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("credentials", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("credentials_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("location", name=op.f("pk_tape_destination")),
    )
    op.create_table(
        "tape_container",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("adler32", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tape_container")),
    )
    op.create_table(
        "tape_container_member",
        sa.Column("container_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksums", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["container_id"], ["tape_container.id"], name=op.f("fk_tape_container_member_container_id")
        ),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_tape_container_member_package_id")),
        sa.PrimaryKeyConstraint("container_id", "position", name=op.f("pk_tape_container_member")),
    )
    op.create_index(op.f("ix_tape_container_member_package_id"), "tape_container_member", ["package_id"], unique=False)
    op.create_table(
        "tape_job",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=True),
        sa.Column("archive_id", sa.Uuid(), nullable=True),
        sa.Column("container_id", sa.Uuid(), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), server_default="intended", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("wanted_priority", sa.Integer(), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("intended_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "priority BETWEEN 1 AND 5 AND coalesce(wanted_priority, 1) BETWEEN 1 AND 5",
            name=op.f("ck_tape_job_priority"),
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_tape_job_archive_id")),
        sa.ForeignKeyConstraint(["container_id"], ["tape_container.id"], name=op.f("fk_tape_job_container_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_tape_job")),
        sa.UniqueConstraint("job_id", name=op.f("uq_tape_job_job_id")),
    )
    op.create_index(op.f("ix_tape_job_archive_id"), "tape_job", ["archive_id"], unique=False)
    op.create_index(op.f("ix_tape_job_container_id"), "tape_job", ["container_id"], unique=False)
    op.create_index(op.f("ix_tape_job_intended_at_key"), "tape_job", ["intended_at", "key"], unique=False)
    op.create_index(
        "ix_tape_job_open", "tape_job", ["intended_at"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "ix_step_recalled",
        "step",
        [sa.text("(output #>> '{recall,expires_at}')")],
        unique=False,
        postgresql_where=sa.text("name = 'recall' AND state = 'completed'"),
    )
    op.execute(_RIGHTS)


_RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        REVOKE ALL ON tape_container, tape_container_member FROM perdura_app;
        GRANT SELECT, INSERT ON tape_container, tape_container_member TO perdura_app;
        GRANT SELECT, INSERT, UPDATE ON tape_job, tape_destination TO perdura_app;
    END IF;
END $$
"""
