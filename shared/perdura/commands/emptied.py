"""Empties a database for a restore, once it is proved that nothing in it was anybody's."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from perdura.accounts import rate_buckets  # noqa: F401 - for the tables it declares, as those below
from perdura.accounts import tables as account_tables  # noqa: F401
from perdura.accounts.principals import LOCAL_ADMINISTRATOR
from perdura.errors import Conflict, DatabaseUnavailable
from perdura.metadata import Base
from perdura.premis import tables as premis_tables  # noqa: F401
from perdura.registry import (  # noqa: F401
    access_tables,
    archive_index,
    contents,
    harvest_tables,
    job_tables,
    preservation_tables,
    store_capabilities,
    subscriptions,
    tables,
    taken_over,
    tape_tables,
    turn_tables,
)

OUR_TABLES = frozenset(Base.metadata.tables)
"""Names of all tables that Perdura declares."""
_BESIDES = frozenset({"alembic_version", "archive_index_source", "premis_sequence"})
"""What migrations make besides the tables that are declared."""
_MADE_BY_ITSELF = frozenset(
    {"heartbeat", "host_budget", "host_lease", "rate_bucket", "premis_key", "search_rebuild", "store_capability"}
)
"""What functions learn or note by themselves, and will again after a restore."""
_MADE_BY_PEOPLE = {
    "account": f"id <> '{LOCAL_ADMINISTRATOR}'",
    "pipeline": "name NOT IN ('deposit', 'harvest')",
    "tape_destination": "paused_by IS NOT NULL",
}
"""Which rows count in tables where migrations or functions have theirs too."""

_RELATIONS = text("""
    SELECT c.relname, root.relname FROM pg_class AS c
    JOIN pg_class AS root ON root.oid = coalesce(pg_partition_root(c.oid), c.oid)
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
                        AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND c.relkind = 'S')
    ORDER BY c.relname
""")
"""Tables, views and sequences of nobody's column, each with the partitioned table that it belongs to, or itself."""


def empty(engine: Engine) -> None:
    """Clear a schema that has nothing but what migrations made and functions note by themselves.

    Raises Conflict, and changes nothing, where it has a row that a person or an Archive brought about, or a table that
    is not ours; DatabaseUnavailable.
    """
    try:
        with engine.begin() as connection:
            _check(connection)
            connection.exec_driver_sql("DROP SCHEMA public CASCADE")
            connection.exec_driver_sql("CREATE SCHEMA public")
    except SQLAlchemyError as error:
        raise DatabaseUnavailable(f"The database cannot be prepared: {type(error).__name__}") from error


def _check(connection: Connection) -> None:
    there = {str(name): str(root) for name, root in connection.execute(_RELATIONS)}
    foreign = [name for name, root in there.items() if root not in OUR_TABLES | _BESIDES]
    if foreign:
        raise Conflict(f"The database is not empty: it has tables that are not Perdura's ({', '.join(foreign[:5])}).")
    filled = [name for name in sorted(OUR_TABLES & there.keys() - _MADE_BY_ITSELF) if _has_rows(connection, name)]
    if filled:
        raise Conflict(
            f"The database is not empty ({', '.join(filled[:5])}): a backup is only restored into an empty one."
        )


def _has_rows(connection: Connection, table: str) -> bool:
    condition = _MADE_BY_PEOPLE.get(table, "true")
    query = f'SELECT EXISTS (SELECT FROM public."{table}" WHERE {condition})'  # noqa: S608 - names and conditions of ours
    return bool(connection.exec_driver_sql(query).scalar_one())
