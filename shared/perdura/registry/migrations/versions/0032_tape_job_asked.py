"""Under which id a tape job was asked for, and when: so it is found although the tape system takes us for another."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    """Add the columns without rewriting the table; of jobs asked for before, those answered are known by that."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "ALTER TABLE tape_job ADD COLUMN asked_as text, ADD COLUMN asked_at timestamptz",
    "UPDATE tape_job SET asked_as = job_id, asked_at = submitted_at WHERE ended_at IS NULL AND job_id IS NOT NULL",
)
