"""Buckets of requests, shared by all processes of the registry."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

TABLE = """
    CREATE UNLOGGED TABLE rate_bucket (policy TEXT NOT NULL,
        caller TEXT NOT NULL,
        level DOUBLE PRECISION NOT NULL,
        taken INTEGER NOT NULL,
        at TIMESTAMP WITH TIME ZONE NOT NULL,
        CONSTRAINT pk_rate_bucket PRIMARY KEY (policy, caller)) WITH (fillfactor = 50);
"""

RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON rate_bucket TO perdura_app;
    END IF;
END $$
"""


def upgrade() -> None:
    """Create the table."""
    for statements in (TABLE, RIGHTS):
        op.get_bind().exec_driver_sql(statements)
