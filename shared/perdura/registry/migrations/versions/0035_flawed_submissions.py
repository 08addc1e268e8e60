"""Archivematicas: a submission whose AIP is not what it must be has a state of its own, not a made-up status."""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    """Allow the state, and give it to those that were marked otherwise; the table has one row for each attempt."""
    op.execute("ALTER TABLE archivematica_submission DROP CONSTRAINT ck_archivematica_submission_state")
    op.execute(
        "ALTER TABLE archivematica_submission ADD CONSTRAINT ck_archivematica_submission_state CHECK "
        "(state IN ('queued', 'reserved', 'unsure', 'followed', 'stored', 'closed', 'flawed'))"
    )
    op.execute("UPDATE archivematica_submission SET state = 'flawed', status = 'COMPLETE' WHERE status = 'FLAWED'")
