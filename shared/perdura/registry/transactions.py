"""Transactions of the registry's adapters beside the one that closes a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from perdura.database import passing
from perdura.errors import DatabaseUnavailable


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction. Raises DatabaseUnavailable where the database, or room in the pool, is missing for now."""
    try:
        with engine.begin() as connection:
            yield connection
    except SQLAlchemyError as error:
        if not passing(error):
            raise
        raise DatabaseUnavailable("The database did not answer in time.", retry_after=5) from error
