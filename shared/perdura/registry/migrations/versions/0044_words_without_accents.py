"""Words are found however their accents are written, or without them; and what a caller was granted by few indexes."""

from __future__ import annotations

from alembic import op

revision = "0044"
down_revision = "0043"


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
    CREATE OR REPLACE FUNCTION words_of(texts text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT to_tsvector('simple', regexp_replace(regexp_replace(
            left(normalize(left(coalesce(texts, ''), 100000), NFKD), 100000), '[\u0300-\u036f]+', '', 'g'),
            '{_APART}', ' ', 'g'))
    $$
    """,
    "DELETE FROM search_rebuild",
    """
    INSERT INTO search_rebuild SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff' WHERE EXISTS (SELECT FROM archive_index)
    """,
    """
    CREATE INDEX ix_access_grant_account_collection ON access_grant (account_id, collection_id)
    WHERE collection_id IS NOT NULL
    """,
    """
    CREATE INDEX ix_access_grant_group_collection ON access_grant (group_name, collection_id)
    WHERE collection_id IS NOT NULL
    """,
)
