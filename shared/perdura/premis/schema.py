"""The tables of the log in PostgreSQL 15 or later: DDL that may be run any number of times, and its partitions."""

from __future__ import annotations

from importlib.resources import files

from sqlalchemy.engine import Connection

APPLICATION_ROLE = "perdura_app"
"""Role with the rights of the application: it may add to the log, never change or remove what is there."""

MONTHS_AHEAD = 3


def create(connection: Connection) -> None:
    """Create what is missing, in the caller's transaction."""
    for name in ("tables.sql", "functions.sql"):
        _run(connection, name)
    grant(connection)
    create_partitions(connection)


def grant(connection: Connection) -> None:
    """Make the role of the application where that is allowed, and give it its rights on the log where it is there."""
    _run(connection, "rights.sql")


def _run(connection: Connection, name: str) -> None:
    connection.exec_driver_sql(files("perdura.premis").joinpath("data", name).read_text("utf-8"))


def create_partitions(connection: Connection, months_ahead: int = MONTHS_AHEAD) -> None:
    """Create the partitions of this month and the coming ones; rows beyond them go to a default partition."""
    connection.exec_driver_sql("SELECT premis_create_partitions(%s)", (months_ahead,))
