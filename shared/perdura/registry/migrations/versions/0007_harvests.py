"""Recurring harvests, credentials for sources, and what hosts allow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables and the rights of the application."""
    op.create_table(
        "schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), server_default="", nullable=False),
        sa.Column("set_name", sa.Text(), nullable=True),
        sa.Column("follows", sa.Text(), server_default="updated", nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("pipeline", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("collection_id", sa.Uuid(), nullable=True),
        sa.Column("record_limit", sa.Integer(), nullable=True),
        sa.Column("concurrency", sa.Integer(), server_default="4", nullable=False),
        sa.Column("overlap_seconds", sa.Integer(), server_default="600", nullable=False),
        sa.Column("grace_seconds", sa.Integer(), server_default="300", nullable=False),
        sa.Column("failures_at_least", sa.Integer(), server_default="10", nullable=False),
        sa.Column("failure_share", sa.Float(), server_default="0.25", nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("owner_name", sa.Text(), nullable=False),
        sa.Column("done_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("follows IN ('updated', 'created')", name=op.f("ck_schedule_follows")),
        sa.CheckConstraint("state IN ('active', 'paused', 'retired')", name=op.f("ck_schedule_state")),
        sa.CheckConstraint("way IN ('search', 'oai-pmh')", name=op.f("ck_schedule_way")),
        sa.CheckConstraint("concurrency BETWEEN 1 AND 100", name=op.f("ck_schedule_concurrency")),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name=op.f("fk_schedule_collection_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        sa.UniqueConstraint("name", name=op.f("uq_schedule_name")),
    )
    op.create_index(op.f("ix_schedule_collection_id"), "schedule", ["collection_id"], unique=False)
    op.create_index(op.f("ix_schedule_created_at_id"), "schedule", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_schedule_due", "schedule", ["next_at"], unique=False, postgresql_where=sa.text("state = 'active'")
    )
    op.create_table(
        "harvest_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("schedule_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="listing", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("target", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forgiven", sa.Integer(), server_default="0", nullable=False),
        sa.Column("look_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('listing', 'running', 'paused', 'cancelled', 'completed', 'completed_with_failures')",
            name=op.f("ck_harvest_run_state"),
        ),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedule.id"], name=op.f("fk_harvest_run_schedule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_harvest_run")),
    )
    op.create_index(
        op.f("ix_harvest_run_schedule_id_created_at"), "harvest_run", ["schedule_id", "created_at"], unique=False
    )
    op.create_index(
        "ix_harvest_run_working",
        "harvest_run",
        ["id"],
        unique=False,
        postgresql_where=sa.text("state IN ('listing', 'running')"),
    )
    op.create_index(
        "uq_harvest_run_open",
        "harvest_run",
        ["schedule_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('listing', 'running', 'paused')"),
    )
    op.create_table(
        "harvest_batch",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("starts", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends", sa.DateTime(timezone=True), nullable=False),
        sa.Column("first_id", sa.Text(), nullable=True),
        sa.Column("last_id", sa.Text(), nullable=True),
        sa.Column("total", sa.Integer(), nullable=True),
        sa.Column("pages", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["harvest_run.id"], name=op.f("fk_harvest_batch_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_harvest_batch")),
    )
    op.create_table(
        "harvest_item",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("recid", sa.Text(collation="C"), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'waiting', 'done', 'unchanged', 'deleted', 'failed', 'cancelled')",
            name=op.f("ck_harvest_item_state"),
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_harvest_item_archive_id")),
        sa.ForeignKeyConstraint(["run_id"], ["harvest_run.id"], name=op.f("fk_harvest_item_run_id")),
        sa.PrimaryKeyConstraint("run_id", "recid", name=op.f("pk_harvest_item")),
    )
    op.create_index(
        op.f("ix_harvest_item_archive_id"),
        "harvest_item",
        ["archive_id"],
        unique=False,
        postgresql_where=sa.text("archive_id IS NOT NULL"),
    )
    op.create_index(
        "ix_harvest_item_in_work",
        "harvest_item",
        ["source", "recid"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(op.f("ix_harvest_item_run_id_position"), "harvest_item", ["run_id", "position"], unique=False)
    op.create_index(
        op.f("ix_harvest_item_run_id_state_position"), "harvest_item", ["run_id", "state", "position"], unique=False
    )
    op.create_table(
        "harvested",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recid", sa.Text(), nullable=False),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("listed", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column(
            "harvested_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_harvested_archive_id")),
        sa.PrimaryKeyConstraint("source", "recid", name=op.f("pk_harvested")),
    )
    op.create_index(op.f("ix_harvested_archive_id"), "harvested", ["archive_id"], unique=False)
    op.create_table(
        "credential",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("owner", "source", name=op.f("pk_credential")),
    )
    op.create_index(op.f("ix_credential_key_id"), "credential", ["key_id"], unique=False)
    op.create_table(
        "host_budget",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=False),
        sa.Column("burst", sa.Float(), nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("blocked_until", sa.Float(), nullable=False),
        sa.Column("learnt_at", sa.Float(), nullable=False),
        sa.Column("own_rate", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_host_budget")),
    )
    op.create_table(
        "host_lease",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", "slot", name=op.f("pk_host_lease")),
        sa.UniqueConstraint("holder", "host", "slot", name=op.f("uq_host_lease_holder_host_slot")),
    )
    op.execute(_RIGHTS)


_RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT, UPDATE ON schedule, harvest_run, harvested TO perdura_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON harvest_batch, harvest_item, credential, host_budget, host_lease
            TO perdura_app;
    END IF;
END $$
"""
