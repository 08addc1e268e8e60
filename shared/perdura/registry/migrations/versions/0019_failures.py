"""How often each error came since a step last got on: what blocks it, in place of the number of its invocations."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

COLUMNS = """
    ALTER TABLE step ADD COLUMN failures jsonb NOT NULL DEFAULT '{}';
    ALTER TABLE work_unit ADD COLUMN failing_since timestamptz;
"""


def upgrade() -> None:
    """Add the columns; steps in work begin to count anew."""
    op.get_bind().exec_driver_sql(COLUMNS)
