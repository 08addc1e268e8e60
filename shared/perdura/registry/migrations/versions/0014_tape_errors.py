"""All errors of tape jobs: every failed attempt of the tape system's own, its logs, and whose job it is there."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

TABLES = """
    ALTER TABLE tape_job ADD COLUMN server TEXT, ADD COLUMN holder TEXT, ADD COLUMN file_state TEXT,
        ADD COLUMN log_file TEXT;
    CREATE TABLE tape_job_retry (key TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        failed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        reason TEXT NOT NULL,
        host TEXT,
        log_file TEXT,
        CONSTRAINT pk_tape_job_retry PRIMARY KEY (key, attempt, failed_at),
        CONSTRAINT fk_tape_job_retry_key FOREIGN KEY(key) REFERENCES tape_job (key));
"""

RIGHTS = """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        REVOKE ALL ON tape_job_retry FROM perdura_app;
        GRANT SELECT, INSERT ON tape_job_retry TO perdura_app;
    END IF;
END $$
"""


def upgrade() -> None:
    """Add the columns, the table and the rights of the application."""
    op.execute(TABLES)
    op.execute(RIGHTS)
