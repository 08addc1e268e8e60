"""Brings the database to the schema of this version; safe to run from several places at once."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from perdura.database import migrating, sqlstate
from perdura.errors import Retryable
from perdura.registry import rights
from perdura.settings import Settings

_log = logging.getLogger(__name__)

HEAD = "0050"
"""The newest migration; a test compares it with the folder."""

LOCK_SECONDS = 5
"""For how long a migration waits for a table. Whoever wants the table after it waits as long: functions must go on."""

PATIENCE = 1800.0
"""Seconds for which it tries again: steps and backups hold their tables for a while, another migration for longer."""

_NOT_AVAILABLE = ("55P03", "40P01")
"""SQLSTATE of a lock that was not got in time, and of a deadlock."""

_LOCK = 7_303_014_907
_MIGRATIONS = Path(__file__).parent / "migrations"


def current(connection: Connection) -> str | None:
    """The migration the database is at, None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if version is None else str(version)


def upgrade(engine: Engine) -> None:
    """Apply all migrations that are missing, under an advisory lock, and give the application its rights.

    The connection is the owner's.
    """
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if current(connection) != HEAD:
            _migrate(connection)
        rights.grant(connection)


def _migrate(connection: Connection) -> None:
    # Alembic takes 0.3 s to import: only a database that needs it pays.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def bring_up(settings: Settings, patience: float = PATIENCE, wait: float = 10.0) -> None:
    """Bring the database that the settings name to the schema of this version, while functions work on it.

    As its owner, and without the limit that statements have: an index on a large table takes as long as it takes. A
    table that is in use is waited for shortly, and tried for again. Raises Retryable when it was in use all the time.
    """
    engine, end = migrating(settings, LOCK_SECONDS), time.monotonic() + patience
    try:
        while True:
            try:
                return upgrade(engine)
            except DBAPIError as error:
                if sqlstate(error) not in _NOT_AVAILABLE:
                    raise
                if time.monotonic() + wait >= end:
                    raise Retryable("A table stayed in use: the schema is as it was.", code="table-in-use") from error
                _log.warning("a table is in use; trying again in %d s", wait)
                time.sleep(wait)
    finally:
        engine.dispose()
