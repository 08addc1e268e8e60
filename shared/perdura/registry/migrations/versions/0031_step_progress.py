"""When a step last got on: what tells a step that is stuck from one that is merely tried again and again."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Add the column without rewriting the table; steps that are under way got on when they were last touched."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "ALTER TABLE step ADD COLUMN progress_at timestamptz NOT NULL DEFAULT now()",
    "ALTER TABLE step ALTER COLUMN progress_at SET DEFAULT clock_timestamp()",
    "UPDATE step SET progress_at = updated_at WHERE state IN ('queued', 'running', 'waiting')",
)
