"""The database: one metadata for all tables, one engine per process, failures told apart.

PostgreSQL 15 or later through pg8000; no extension is needed (embedded-services.md 1.3).
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import MetaData, create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase

from perdura.settings import Settings


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


@cache
def engine(settings: Settings) -> Engine:
    """The engine of this process; connections are opened when first needed, so importing costs nothing."""
    return create_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=False,
        pool_recycle=1800,
        connect_args={"timeout": settings.database_statement_timeout, "application_name": "perdura"},
    )
