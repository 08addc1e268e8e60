"""The end of an embargo changes what is told of an Archive, though nobody did anything: harvesters come again."""

from __future__ import annotations

from sqlalchemy import Connection, text

_DATE_ANEW = text("""
    UPDATE publication SET changed_at = clock_timestamp()
    FROM archive, left(archive.metadata ->> 'embargo_until', 10) AS ended
    WHERE archive.id = publication.archive_id AND archive.metadata ? 'embargo_until'
        AND archive.metadata ->> 'embargo_until' <= to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD') || '~'
        AND to_char(publication.changed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') < ended
""")


def date_anew(connection: Connection) -> int:
    """Date publications anew whose embargo has ended since they changed last; how many these are.

    A day that cannot be read is an embargo to nobody (`embargo.ends`), and dates nothing more than once.
    """
    return connection.execute(_DATE_ANEW).rowcount
