"""Fixtures of the tests of API and pages: one database for all of them, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, insert, text
from sqlalchemy.engine import Engine
from werkzeug.test import Client

from perdura.accounts.principals import LOCAL_ADMINISTRATOR
from perdura.accounts.tables import Account
from perdura.local.postgres import FUNCTIONS_ROLE
from perdura.metadata import Base
from tests.contract.test_api.world import World


@pytest.fixture(scope="session")
def engine(postgres_url: str, _template: str) -> Iterator[Engine]:
    """An engine on a database at the present schema, for all tests here."""
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE test_api TEMPLATE {_template}"))
    admin.dispose()
    engine = create_engine(f"{postgres_url}/test_api")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def functions(engine: Engine) -> Iterator[Engine]:
    """An engine on the same database with the rights of a function."""
    made = create_engine(engine.url.set(username=FUNCTIONS_ROLE))
    yield made
    made.dispose()


@pytest.fixture
def world(engine: Engine, functions: Engine) -> World:
    """An installation whose registry is empty; the log keeps its events, for it takes none back."""
    with engine.begin() as connection:
        names = [table.name for table in Base.metadata.sorted_tables if not table.name.startswith("premis_")]
        connection.execute(text(f"TRUNCATE {', '.join(names)} CASCADE"))
        connection.execute(
            insert(Account).values(
                id=LOCAL_ADMINISTRATOR, kind="local", issuer="local", subject="administrator", name="administrator",
                roles=["administrator"],
            )
        )  # fmt: skip
    return World(functions)


@pytest.fixture
def registry(world: World) -> Client:
    """A client of the registry."""
    return world.registry()


@pytest.fixture
def reader(world: World) -> Client:
    """A client of the access pages."""
    return world.reader()
