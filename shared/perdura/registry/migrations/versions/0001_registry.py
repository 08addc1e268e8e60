"""The registry: archives, packages, steps, deposits, inbox and outbox; and the two standard pipelines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the registry's tables and the two standard pipelines."""
    op.create_table(
        "collection",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection")),
        sa.UniqueConstraint("name", name=op.f("uq_collection_name")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("duty", sa.Text(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("duty", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("consumer", "source", "id", name=op.f("pk_inbox")),
    )
    op.create_index(op.f("ix_inbox_finished_at"), "inbox", ["finished_at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("sequence", name=op.f("uq_outbox_sequence")),
    )
    op.create_index(
        "ix_outbox_delivered",
        "outbox",
        ["delivered_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_due", "outbox", ["next_at"], unique=False, postgresql_where=sa.text("delivered_at IS NULL")
    )
    op.create_table(
        "pipeline",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("steps", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_pipeline")),
    )
    op.create_table(
        "resource",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recid", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource")),
        sa.UniqueConstraint("source", "recid", name=op.f("uq_resource_source_recid")),
    )
    op.create_table(
        "archive",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=True),
        sa.Column("title", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("pipeline", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("restricted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("content_sha256", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('awaiting_upload', 'queued', 'running', 'waiting', 'blocked', 'completed', 'completed_with_warnings', 'failed', 'rejected', 'cancelled')",
            name=op.f("ck_archive_state"),
        ),
        sa.ForeignKeyConstraint(["resource_id"], ["resource.id"], name=op.f("fk_archive_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archive")),
    )
    op.create_index(
        op.f("ix_archive_content_sha256"),
        "archive",
        ["content_sha256"],
        unique=False,
        postgresql_where=sa.text("content_sha256 IS NOT NULL"),
    )
    op.create_index(op.f("ix_archive_created_at_id"), "archive", ["created_at", "id"], unique=False)
    op.create_index(op.f("ix_archive_resource_id"), "archive", ["resource_id"], unique=False)
    op.create_index(
        "ix_archive_search",
        "archive",
        [sa.literal_column("to_tsvector('simple', title || ' ' || coalesce(metadata ->> 'description', ''))")],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index(op.f("ix_archive_state_created_at_id"), "archive", ["state", "created_at", "id"], unique=False)
    op.create_table(
        "collection_member",
        sa.Column("collection_id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_collection_member_archive_id")),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name=op.f("fk_collection_member_collection_id")),
        sa.PrimaryKeyConstraint("collection_id", "archive_id", name=op.f("pk_collection_member")),
    )
    op.create_index(op.f("ix_collection_member_archive_id"), "collection_member", ["archive_id"], unique=False)
    op.create_table(
        "deposit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_deposit_archive_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deposit")),
        sa.UniqueConstraint("archive_id", name=op.f("uq_deposit_archive_id")),
        sa.UniqueConstraint("bucket", "key", name=op.f("uq_deposit_bucket_key")),
    )
    op.create_table(
        "package",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("container", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksums", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("index_key", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("kind IN ('SIP', 'AIP', 'DIP')", name=op.f("ck_package_kind")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_package_size")),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_package_archive_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package")),
    )
    op.create_index(op.f("ix_package_archive_id_created_at"), "package", ["archive_id", "created_at"], unique=False)
    op.create_index(
        "uq_package_aip", "package", ["archive_id"], unique=True, postgresql_where=sa.text("kind = 'AIP' AND accepted")
    )
    op.create_table(
        "publication",
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column(
            "published_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_publication_archive_id")),
        sa.PrimaryKeyConstraint("archive_id", "destination", name=op.f("pk_publication")),
    )
    op.create_table(
        "step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("input", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column(
            "checkpoint", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("output", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("progress", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("cause", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("deliveries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("poll_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'waiting', 'blocked', 'completed', 'completed_with_warnings', 'failed', 'cancelled')",
            name=op.f("ck_step_state"),
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_step_archive_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_step")),
        sa.UniqueConstraint("archive_id", "position", "attempt", name=op.f("uq_step_archive_id_position_attempt")),
    )
    op.create_index(
        "ix_step_unfinished",
        "step",
        ["poll_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running', 'waiting')"),
    )
    op.create_index(
        "ix_step_unsuccessful",
        "step",
        ["error_code", "updated_at"],
        unique=False,
        postgresql_where=sa.text("error_code IS NOT NULL"),
    )
    op.create_index(
        "ix_step_waiting", "step", ["name", "poll_at"], unique=False, postgresql_where=sa.text("state = 'waiting'")
    )
    op.create_table(
        "copy",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksums", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_copy_package_id")),
        sa.PrimaryKeyConstraint("package_id", "location", name=op.f("pk_copy")),
    )
    op.create_index(op.f("ix_copy_verified_at"), "copy", ["verified_at"], unique=False)
    op.create_table(
        "intent",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step_id", sa.Uuid(), nullable=False),
        sa.Column("intent", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "declared_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["step_id"], ["step.id"], name=op.f("fk_intent_step_id")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_intent")),
    )
    op.create_index(op.f("ix_intent_step_id"), "intent", ["step_id"], unique=False)
    op.create_table(
        "package_file",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(collation="C"), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("checksums", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=True),
        sa.Column("format_name", sa.Text(), nullable=True),
        sa.Column("format_key", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_package_file_package_id")),
        sa.PrimaryKeyConstraint("package_id", "path", name=op.f("pk_package_file")),
    )
    op.create_table(
        "work_unit",
        sa.Column("step_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column(
            "checkpoint", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("run_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "updated_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'waiting', 'blocked', 'completed', 'completed_with_warnings', 'failed', 'cancelled')",
            name=op.f("ck_work_unit_state"),
        ),
        sa.ForeignKeyConstraint(["step_id"], ["step.id"], name=op.f("fk_work_unit_step_id")),
        sa.PrimaryKeyConstraint("step_id", "key", name=op.f("pk_work_unit")),
    )
    op.create_index(
        "ix_work_unit_due",
        "work_unit",
        ["run_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    _standard_pipelines()


def _standard_pipelines() -> None:
    pipeline = sa.table("pipeline", sa.column("name"), sa.column("steps", postgresql.JSONB()), sa.column("description"))
    common = ["ingest", "preserve", "archive", "publish"]
    op.bulk_insert(
        pipeline,
        [
            {"name": "deposit", "steps": common, "description": "From a deposit to tape and access."},
            {"name": "harvest", "steps": ["harvest", *common], "description": "From a source to tape and access."},
        ],
    )
