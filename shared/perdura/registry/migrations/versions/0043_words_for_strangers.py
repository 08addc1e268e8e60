"""Words that the access pages show of an Archive weigh more: strangers find by these alone. And ends of embargoes."""

from __future__ import annotations

from alembic import op

revision = "0043"
down_revision = "0042"


def upgrade() -> None:
    """Take words anew from now on; the relay does it for the Archives that are there, a few at a time."""
    for statement in _STATEMENTS:
        op.get_bind().exec_driver_sql(statement)


_APART = (
    r"[\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf"
    r"\u2000-\u206f\u3000-\u3003\u3008-\u3020\u3030]+"
)

_STATEMENTS = (
    rf"""
    CREATE FUNCTION words_of(texts text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT to_tsvector('simple', regexp_replace(left(coalesce(texts, ''), 100000), '{_APART}', ' ', 'g'))
    $$
    """,
    # What `perdura.web.description` reads of the metadata, which is what readers are shown.
    """
    CREATE FUNCTION archive_words_shown(title text, metadata jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT title || ' ' || coalesce(string_agg(word #>> '{}', ' '), '')
        FROM (
            SELECT jsonb_path_query(metadata, path, '{}', true) AS word FROM unnest(ARRAY[
                '$.creators[*]', '$.creators[*].name', '$.orcids.*', '$.publication_date', '$.publisher',
                '$.description', '$.resource_type', '$.version', '$.doi', '$.licence[*]', '$.url']::jsonpath[]) AS path
            UNION ALL SELECT jsonb_path_query_first(metadata, 'strict $.bag_info[*]
                ? (@[0] == "External-Description" || @[0] == "Internal-Sender-Description")[1]', '{}', true)
                WHERE trim(coalesce(metadata ->> 'description', '')) = ''
            UNION ALL SELECT jsonb_path_query_first(metadata, 'strict $.bag_info[*]
                ? (@[0] == "Source-Organization" || @[0] == "Organization")[1]', '{}', true)
                WHERE trim(coalesce(metadata ->> 'publisher', '')) = ''
        ) AS shown WHERE jsonb_typeof(word) = 'string'
    $$
    """,
    """
    CREATE OR REPLACE FUNCTION archive_words(title text, metadata jsonb) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT setweight(words_of(archive_words_shown(title, metadata)), 'A') || words_of((
            SELECT string_agg(word #>> '{}', ' ')
            FROM jsonb_path_query(metadata, 'strict $.** ? (@.type() == "string")') AS word))
    $$
    """,
    """
    INSERT INTO search_rebuild SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE EXISTS (SELECT FROM archive_index)
    ON CONFLICT DO NOTHING
    """,
    """
    CREATE INDEX ix_archive_embargo ON archive ((metadata ->> 'embargo_until')) WHERE metadata ? 'embargo_until'
    """,
)
