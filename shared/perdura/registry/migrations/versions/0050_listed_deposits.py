"""Deposits are listed: all, those of an account, and those that are still waited for."""

from __future__ import annotations

from alembic import op

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    """Add the indexes."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    "CREATE INDEX ix_deposit_created_at_id ON deposit (created_at, id)",
    "CREATE INDEX ix_deposit_account_id_created_at_id ON deposit (account_id, created_at, id)",
    """
CREATE INDEX ix_deposit_waiting ON deposit (created_at, id) WHERE received_at IS NULL AND cancelled_at IS NULL
""",
)
