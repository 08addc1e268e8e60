"""Leases of those who publish: a row in place of a transaction that stays open while files are sent."""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Create the table."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    """
CREATE TABLE publication_lease (
    system text NOT NULL,
    resource text NOT NULL,
    token uuid NOT NULL,
    ends_at timestamptz NOT NULL,
    CONSTRAINT pk_publication_lease PRIMARY KEY (system, resource)
)
""",
    """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON publication_lease TO perdura_app;
    END IF;
END $$
""",
)
