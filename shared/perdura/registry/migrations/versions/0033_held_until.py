"""To whom a waiting step belongs while it is looked at: a time of its own, so that a person may set when to look again."""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Add the column. Functions of the version before put the time to look again off instead, as they did."""
    op.get_bind().exec_driver_sql("ALTER TABLE step ADD COLUMN held_until timestamptz")
