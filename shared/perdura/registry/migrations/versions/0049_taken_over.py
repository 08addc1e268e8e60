"""Whose objects are that were taken over from another platform is known by where they lie."""

from __future__ import annotations

from alembic import op

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    """Create the table, and note what was taken over already."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


NOTED = """
INSERT INTO taken_over (bucket, key, archive_id, etag)
SELECT step.input ->> 'bucket', step.input ->> 'key', archive.id, step.input ->> 'etag'
FROM archive JOIN step ON step.archive_id = archive.id AND step.position = 0
WHERE archive.metadata ? 'oais_platform' AND step.input ? 'bucket' AND step.input ? 'key'
UNION
SELECT package.bucket, package.key, archive.id, NULL
FROM archive JOIN package ON package.archive_id = archive.id AND package.kind = 'SIP'
WHERE archive.metadata ? 'oais_platform' AND package.container = 'prefix'
UNION
SELECT wish #>> '{take_over,bucket}', (wish #>> '{take_over,key}') || ending, archive_id, NULL
FROM preservation_wish, unnest(ARRAY['', '/']) AS ending
WHERE wish #>> '{take_over,bucket}' IS NOT NULL AND wish #>> '{take_over,key}' IS NOT NULL
ON CONFLICT DO NOTHING
"""
"""What was taken over before it was noted where it lies."""

_STATEMENTS = (
    """
CREATE TABLE taken_over (
    bucket text NOT NULL,
    key text NOT NULL,
    archive_id uuid NOT NULL CONSTRAINT fk_taken_over_archive_id REFERENCES archive (id),
    etag text,
    CONSTRAINT pk_taken_over PRIMARY KEY (bucket, key, archive_id)
)
""",
    "CREATE INDEX ix_taken_over_archive_id ON taken_over (archive_id)",
    NOTED,
    """
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
        GRANT SELECT, INSERT ON taken_over TO perdura_app;
    END IF;
END $$
""",
)
