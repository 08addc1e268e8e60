"""Every record that was made of an Archive on an access system: a withdrawal takes back all of them."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Create the table; of what was published before the last record is known."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    """
CREATE TABLE placed_record (
    destination text NOT NULL,
    archive_id uuid NOT NULL CONSTRAINT fk_placed_record_archive_id REFERENCES archive (id),
    record_id text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_placed_record PRIMARY KEY (destination, archive_id, record_id)
)
""",
    "CREATE INDEX ix_placed_record_archive_id ON placed_record (archive_id)",
    """
INSERT INTO placed_record (destination, archive_id, record_id, created_at)
SELECT destination, archive_id, record_id, created_at FROM placement WHERE destination <> 'access-pages'
""",
    """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT ON placed_record TO perdura_app;
    END IF;
END $$
""",
)
