"""Fixtures that tests of several kinds share: a throw-away PostgreSQL and databases at the present schema."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import pytest
from hypothesis import settings as hypothesis_settings
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from perdura.errors import Broken
from perdura.local import postgres
from perdura.local.postgres import FUNCTIONS_ROLE
from perdura.premis.schema import APPLICATION_ROLE
from perdura.registry import migrate
from tests.peers.inveniordm import peer

# A busy machine is no failure. Whatever else the surroundings chose (CI has a profile of its own) stays.
_chosen = hypothesis_settings.get_profile(hypothesis_settings.get_current_profile_name())
hypothesis_settings.register_profile("perdura", parent=_chosen, deadline=None)
hypothesis_settings.load_profile("perdura")

_UNSAFE_BUT_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=100")
_numbers = count()


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL (without a database name) of a PostgreSQL that lives as long as the test session."""
    try:
        binaries, prefix = postgres.find_binaries(), postgres.as_another_user()
    except Broken as error:
        pytest.skip(f"no PostgreSQL here: {error.message}")
    folder = Path(tempfile.mkdtemp(prefix="perdura-pg-"))
    data, port = folder / "data", free_port()
    environment = {"PATH": postgres.PATH, "LC_ALL": "C.UTF-8"}
    if prefix[:1] == ("setpriv",):
        shutil.chown(folder, postgres.NOBODY, postgres.NOBODY)
    subprocess.run(
        [*prefix, binaries.program("initdb"), "-D", data, "-N", "-A", "trust", "-U", "perdura", "-E", "UTF8",
         "--locale=C.UTF-8"],
        check=True, capture_output=True, env=environment, cwd="/",
    )  # fmt: skip
    settings = [f"-c{setting}" for setting in _UNSAFE_BUT_FAST]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [*prefix, binaries.program("postgres"), "-D", data, f"-cport={port}", "-clisten_addresses=127.0.0.1",
         f"-cunix_socket_directories={folder}", *settings],
        env=environment, cwd="/", stdout=subprocess.DEVNULL, stderr=log,
    )  # fmt: skip
    log.close()
    try:
        _wait(f"postgresql+pg8000://perdura@127.0.0.1:{port}/postgres", server)
        yield f"postgresql+pg8000://perdura@127.0.0.1:{port}"
    finally:
        server.send_signal(2)
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    engine, end = create_engine(url), monotonic() + 30
    while True:
        try:
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            engine.dispose()
            return
        except SQLAlchemyError:
            if server.poll() is not None or monotonic() > end:
                raise
            sleep(0.05)


@pytest.fixture(scope="session")
def _template(postgres_url: str) -> str:
    name = "template_perdura"
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    engine = create_engine(f"{postgres_url}/{name}")
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {FUNCTIONS_ROLE} LOGIN IN ROLE {APPLICATION_ROLE}"))
    engine.dispose()
    return name


@pytest.fixture
def owner_url(postgres_url: str, _template: str) -> Iterator[str]:
    """URL of an empty database at the present schema, for one test that does what no function may."""
    name = f"test_{next(_numbers)}"
    admin = create_engine(f"{postgres_url}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {_template}"))
    yield f"{postgres_url}/{name}"
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def database_url(owner_url: str) -> str:
    """URL of an empty database at the present schema, for one test that has the rights of a function."""
    return str(make_url(owner_url).set(username=FUNCTIONS_ROLE))


@pytest.fixture
def owner(owner_url: str) -> Iterator[Engine]:
    """An engine on the database of this test, as the owner of the tables."""
    engine = create_engine(owner_url)
    yield engine
    engine.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    """An engine on an empty database at the present schema, for one test, with the rights of a function."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def inveniordm() -> Iterator[peer.Peer]:
    """A real InvenioRDM v14, empty at the beginning of the session."""
    try:
        with peer.running() as running:
            yield running
    except peer.Unavailable as error:
        pytest.skip(str(error))
