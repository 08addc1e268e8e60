"""Jobs take turns: when the next slice of each is due, and what it waits for."""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    """Add the columns; jobs that are under way keep their order."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "ALTER TABLE job ADD COLUMN turn_at timestamptz NOT NULL DEFAULT now(), ADD COLUMN waits_for text",
    "ALTER TABLE job ALTER COLUMN turn_at SET DEFAULT clock_timestamp()",
    "UPDATE job SET turn_at = created_at WHERE state IN ('queued', 'running')",
    "CREATE INDEX ix_job_turn ON job (turn_at) WHERE state IN ('queued', 'running')",
    "DROP INDEX ix_job_unfinished",
)
