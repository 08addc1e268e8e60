"""Jobs: one act on many things, with the state of each."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

TABLES = """
    CREATE TABLE job (id UUID NOT NULL,
        act TEXT NOT NULL,
        input JSONB DEFAULT '{}' NOT NULL,
        state TEXT DEFAULT 'queued' NOT NULL,
        total INTEGER NOT NULL,
        done INTEGER DEFAULT '0' NOT NULL,
        failed INTEGER DEFAULT '0' NOT NULL,
        created_by TEXT NOT NULL,
        account_id UUID,
        created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
        finished_at TIMESTAMP WITH TIME ZONE,
        CONSTRAINT pk_job PRIMARY KEY (id),
        CONSTRAINT ck_job_state CHECK (state IN ('queued', 'running', 'completed', 'cancelled')));
    CREATE INDEX ix_job_created_at_id ON job (created_at, id);
    CREATE INDEX ix_job_unfinished ON job (created_at) WHERE state IN ('queued', 'running');
    CREATE TABLE job_item (job_id UUID NOT NULL,
        position INTEGER NOT NULL,
        archive_id UUID,
        subject TEXT DEFAULT '' NOT NULL,
        input JSONB DEFAULT '{}' NOT NULL,
        state TEXT DEFAULT 'queued' NOT NULL,
        code TEXT,
        message TEXT,
        CONSTRAINT pk_job_item PRIMARY KEY (job_id, position),
        CONSTRAINT ck_job_item_state CHECK (state IN ('queued', 'done', 'failed')),
        CONSTRAINT fk_job_item_job_id FOREIGN KEY(job_id) REFERENCES job (id) ON DELETE CASCADE);
    CREATE INDEX ix_job_item_job_id_state_position ON job_item (job_id, state, position);
"""


def upgrade() -> None:
    """Create the tables."""
    op.get_bind().exec_driver_sql(TABLES)
