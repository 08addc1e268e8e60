"""Words of Archives are those between punctuation, so that parts of identifiers are found, and Archives by their origin.

The parser of the database makes one word of what looks like a host, a file, an e-mail or a number: it is given nothing
that looks like one.
"""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    """Take words anew from now on; the relay does it for the Archives that are there, a few at a time."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_STATEMENTS = (
    r"""
    CREATE OR REPLACE FUNCTION archive_words(title text, metadata jsonb) RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
        SELECT to_tsvector('simple', regexp_replace(left(title || ' ' || coalesce((
            SELECT string_agg(word #>> '{}', ' ')
            FROM jsonb_path_query(metadata, 'strict $.** ? (@.type() == "string")') AS word), ''), 100000),
            '[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u2000-\u206f\u3000-\u3003\u3008-\u3020\u3030]+', ' ', 'g'))
    $$
    """,
    "CREATE TABLE search_rebuild (before uuid NOT NULL, CONSTRAINT pk_search_rebuild PRIMARY KEY (before))",
    """
    INSERT INTO search_rebuild SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE EXISTS (SELECT FROM archive_index)
    """,
    """
    DO $$ BEGIN
        IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'perdura_app') THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON search_rebuild TO perdura_app;
        END IF;
    END $$
    """,
    "CREATE INDEX ix_archive_index_origin_created_at_archive_id ON archive_index (origin, created_at, archive_id)",
)
