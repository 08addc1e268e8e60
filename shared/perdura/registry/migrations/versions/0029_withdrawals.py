"""Withdrawals as people decide them: what is published later, or is under way, asks for them."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Create the table; what was withdrawn before stays noted with its placements."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    """
CREATE TABLE withdrawal (
    id uuid NOT NULL CONSTRAINT pk_withdrawal PRIMARY KEY,
    archive_id uuid NOT NULL CONSTRAINT fk_withdrawal_archive_id REFERENCES archive (id),
    destination text,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lifted_at timestamptz
)
""",
    "CREATE INDEX ix_withdrawal_archive_id ON withdrawal (archive_id)",
    """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT, UPDATE (lifted_at) ON withdrawal TO perdura_app;
    END IF;
END $$
""",
)
