"""Who announced a deposit, and when it was cancelled."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

COLUMNS = "ALTER TABLE deposit ADD COLUMN account_id uuid, ADD COLUMN cancelled_at timestamptz"


def upgrade() -> None:
    """Add the columns; of earlier deposits it is not known who announced them."""
    op.get_bind().exec_driver_sql(COLUMNS)
