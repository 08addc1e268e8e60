"""The database: one engine per process.

PostgreSQL 15 or later through pg8000; no extension is needed (embedded-services.md 1.3).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Row, create_engine
from sqlalchemy.engine import Engine

from perdura.settings import Settings

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of any columns, read by name; the statement that made it is in the same module."""


@cache
def engine(settings: Settings) -> Engine:
    """The engine of this process; connections are opened when first needed, so importing costs nothing."""
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={"timeout": settings.database_statement_timeout, "application_name": "perdura"},
    )
