"""What the functions may do in the database: the rights of the role `perdura_app`, whose members they log in as.

They may read everything, add to everything, change most, and remove only what is of the moment: queues, leases,
sessions, choices of people. No function can remove an Archive, a step, a package, a copy, or what was recorded.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from perdura.premis import schema

REMOVABLE = frozenset(
    (
        "access_grant", "archive_change", "browser_session", "collection", "collection_member", "credential",
        "daily_change", "harvest_batch", "host_lease", "idempotency_key", "inbox", "job", "job_item", "notice",
        "offer_file", "outbox", "pipeline", "publication", "publication_lease", "rate_bucket", "search_rebuild",
        "sign_in", "subscription", "turn", "turn_share",
    )
)  # fmt: skip
"""Tables whose rows are removed when they are no longer needed, or when a person removes them."""

ADDED_TO = frozenset(
    ("audit_entry", "placed_record", "taken_over", "tape_container", "tape_container_member", "tape_job_retry")
)
"""Tables whose rows stay as they were written."""

COLUMNS = {"withdrawal": ("lifted_at",)}
"""Tables of which these columns alone change."""

READ = frozenset(("alembic_version",))

LOG = "premis_"
"""What the names of the log's tables begin with; their rights are the log's own (`premis/data/rights.sql`)."""


def grant(connection: Connection) -> None:
    """Give the role of the application its rights on every table there is; nothing where there is no such role.

    To be run by the owner of the tables, whether or not there was a migration: this list may be newer than they are.
    """
    schema.grant(connection)
    role = schema.APPLICATION_ROLE
    if connection.execute(text("SELECT to_regrole(:role)"), {"role": role}).scalar() is None:
        return
    tables = [name for name in inspect(connection).get_table_names() if not name.startswith(LOG)]
    connection.execute(text(f"REVOKE ALL ON {', '.join(tables)} FROM {role}"))
    for rights in sorted({rights_on(table) for table in tables}):
        named = ", ".join(table for table in tables if rights_on(table) == rights)
        connection.execute(text(f"GRANT {rights} ON {named} TO {role}"))
    for view in inspect(connection).get_view_names():
        connection.execute(text(f"GRANT SELECT ON {view} TO {role}"))
    connection.execute(text(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {_schema(connection)} TO {role}"))


def _schema(connection: Connection) -> str:
    return str(connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one())


def rights_on(table: str) -> str:
    """The rights on one table, as GRANT writes them."""
    if table in READ:
        return "SELECT"
    if table in ADDED_TO:
        return "SELECT, INSERT"
    if table in COLUMNS:
        return f"SELECT, INSERT, UPDATE ({', '.join(COLUMNS[table])})"
    return "SELECT, INSERT, UPDATE, DELETE" if table in REMOVABLE else "SELECT, INSERT, UPDATE"
