"""Turns: first steps that wait until there is room for them."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

TABLES = """
    CREATE TABLE turn (
        step_id uuid CONSTRAINT pk_turn PRIMARY KEY CONSTRAINT fk_turn_step_id_step REFERENCES step (id),
        lane integer NOT NULL,
        share text COLLATE "C" NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE INDEX ix_turn_order ON turn (lane, share, asked_at);
    CREATE TABLE turn_share (
        share text COLLATE "C" CONSTRAINT pk_turn_share PRIMARY KEY,
        given_at timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    DO $$
    BEGIN
        IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON turn, turn_share TO perdura_app;
        END IF;
    END $$;
"""


def upgrade() -> None:
    """Create the tables."""
    op.get_bind().exec_driver_sql(TABLES)
