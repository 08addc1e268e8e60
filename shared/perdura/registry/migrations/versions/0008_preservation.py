"""Preservation: wishes, versions of AIPs, Archivematicas and what was sent to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

_NOW = sa.text("clock_timestamp()")


def upgrade() -> None:
    """Create the tables, and give the AIPs that are there their first version."""
    _wishes_and_versions()
    _instances()
    _submissions()
    op.execute("""
        INSERT INTO aip_version (package_id, archive_id, number, created_at)
        SELECT id, archive_id, row_number() OVER (PARTITION BY archive_id ORDER BY created_at), created_at
        FROM package WHERE kind = 'AIP'
    """)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[object]:
    default = None if nullable else _NOW
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=nullable)


def _wishes_and_versions() -> None:
    op.create_table(
        "preservation_wish",
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("wish", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        _moment("updated_at"),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_preservation_wish_archive_id")),
        sa.PrimaryKeyConstraint("archive_id", name=op.f("pk_preservation_wish")),
    )
    op.create_table(
        "aip_version",
        sa.Column("package_id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("predecessor_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        _moment("created_at"),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_aip_version_archive_id")),
        sa.ForeignKeyConstraint(["package_id"], ["package.id"], name=op.f("fk_aip_version_package_id")),
        sa.ForeignKeyConstraint(["predecessor_id"], ["package.id"], name=op.f("fk_aip_version_predecessor_id")),
        sa.PrimaryKeyConstraint("package_id", name=op.f("pk_aip_version")),
    )
    op.create_index("uq_aip_version_number", "aip_version", ["archive_id", "number"], unique=True)


def _instances() -> None:
    op.create_table(
        "archivematica_instance",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), server_default="active", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        _moment("paused_until", nullable=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reachable", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("pipeline", sa.Text(), nullable=True),
        _moment("checked_at", nullable=True),
        _moment("updated_at"),
        sa.CheckConstraint("mode IN ('active', 'draining', 'paused')", name=op.f("ck_archivematica_instance_mode")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_archivematica_instance")),
    )


def _submissions() -> None:
    op.create_table(
        "archivematica_submission",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("archive_id", sa.Uuid(), nullable=False),
        sa.Column("step_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("instance", sa.Text(), nullable=True),
        sa.Column("configuration", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("ahead", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ahead_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("transfer", sa.Uuid(), nullable=True),
        sa.Column("sip", sa.Uuid(), nullable=True),
        sa.Column("status", sa.Text(), server_default="", nullable=False),
        sa.Column("microservice", sa.Text(), server_default="", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        _moment("queued_at"),
        _moment("looked_at"),
        _moment("sent_at", nullable=True),
        _moment("moved_at", nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'reserved', 'unsure', 'followed', 'stored', 'closed')",
            name=op.f("ck_archivematica_submission_state"),
        ),
        sa.ForeignKeyConstraint(["archive_id"], ["archive.id"], name=op.f("fk_archivematica_submission_archive_id")),
        sa.ForeignKeyConstraint(["step_id"], ["step.id"], name=op.f("fk_archivematica_submission_step_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archivematica_submission")),
        sa.UniqueConstraint("name", name=op.f("uq_archivematica_submission_name")),
        sa.UniqueConstraint("step_id", name=op.f("uq_archivematica_submission_step_id")),
    )
    op.create_index("ix_archivematica_submission_archive_id", "archivematica_submission", ["archive_id"])
    op.create_index(
        "ix_archivematica_submission_open",
        "archivematica_submission",
        ["instance", "state"],
        postgresql_where=sa.text("state <> 'closed'"),
    )
    op.create_index(
        "ix_archivematica_submission_sip",
        "archivematica_submission",
        ["sip"],
        postgresql_where=sa.text("sip IS NOT NULL"),
    )
