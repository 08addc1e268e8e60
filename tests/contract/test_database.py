"""The connection to the database: what cannot be sent spoils nothing for who comes next."""

from __future__ import annotations

import io
import logging
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from perdura import database as connections
from perdura import prepared
from perdura.cloudevents.message import CloudEvent
from perdura.registry import inbox
from perdura.runtime.logs import JsonLines
from perdura.settings import Settings

pytestmark = pytest.mark.stack
BEYOND = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))


@pytest.mark.parametrize("kind", ["pooled", "alone", "migrating"])
def test_an_error_tells_no_value(database: Engine, kind: str) -> None:
    settings = Settings(database_url=SecretStr(database.url.render_as_string(hide_password=False)))
    engine = connections.migrating(settings, 1) if kind == "migrating" else connections.engine(settings)
    used = connections.standing_alone(engine, settings) if kind == "alone" else engine
    with pytest.raises(DBAPIError) as raised, used.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "open sesame"})
    assert "sesame" not in str(raised.value)
    engine.dispose()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("value", ["\ud800", BEYOND])
def test_a_value_that_cannot_be_sent_leaves_no_answer_for_the_next_question(
    database: Engine, value: Any, alone: bool
) -> None:
    url = SecretStr(database.url.render_as_string(hide_password=False))
    settings = Settings(database_url=url, database_pool_size=2)
    engine = connections.engine(settings)
    used = connections.standing_alone(engine, settings) if alone else engine
    asked = text("SELECT CAST(:first AS text), CAST(:second AS text)")
    for _ in range(3):
        with used.begin() as connection:
            connection.execute(text("SELECT 'before'"))
        with pytest.raises((UnicodeEncodeError, OverflowError)), used.begin() as connection:
            connection.execute(asked, {"first": "a", "second": value})
        with used.begin() as connection:
            assert connection.execute(text("SELECT 'after'")).scalar_one() == "after"
            assert connection.execute(asked, {"first": "a", "second": "b"}).one() == ("a", "b")
    engine.dispose()


@pytest.mark.parametrize("alone", [False, True])
def test_times_come_in_utc_from_a_database_in_another_zone(database: Engine, owner: Engine, alone: bool) -> None:
    with owner.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database.url.database} SET timezone TO 'Europe/Zurich'"))
    settings = Settings(database_url=SecretStr(database.url.render_as_string(hide_password=False)))
    engine = connections.engine(settings)
    used = connections.standing_alone(engine, settings) if alone else engine
    with used.begin() as connection:
        zone, moment = connection.execute(
            text("SELECT current_setting('TimeZone'), CAST('2026-07-01 12:00Z' AS timestamptz)")
        ).one()
    assert (zone, moment.isoformat()) == ("UTC", datetime(2026, 7, 1, 12, tzinfo=UTC).isoformat())
    engine.dispose()


def settings_of(database: Engine) -> Settings:
    return Settings(database_url=SecretStr(database.url.render_as_string(hide_password=False)))


@pytest.mark.parametrize("kind", ["engine", "alone", "migrating"])
def test_both_sides_of_a_connection_ask_whether_the_other_is_still_there(database: Engine, kind: str) -> None:
    settings = settings_of(database)
    engine = connections.engine(settings)
    used = {
        "engine": engine,
        "alone": connections.standing_alone(engine, settings),
        "migrating": connections.migrating(settings, 5),
    }[kind]
    with used.begin() as connection:
        asked = [f"current_setting('tcp_keepalives_{name}')" for name in ("idle", "interval", "count")]
        server = [int(value) for value in connection.execute(text(f"SELECT {', '.join(asked)}")).one()]
        ours = connection.connection.driver_connection._usock  # type: ignore[union-attr]
        options = [getattr(socket, name) for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")]
        client = [ours.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert server == client == [30, 10, 3]
    used.dispose()


def test_the_claim_of_a_worker_that_is_gone_without_a_farewell_is_free_soon(
    database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "KEEPALIVES", {"idle": 10, "interval": 1, "count": 1})
    lost = connections.connecting(database.url).connect()
    event = CloudEvent(id="1", source="/t", type="t", data={})
    lost.begin()
    assert inbox.claim(lost, "ingest", event, "step 1") is inbox.Claim.OURS

    def claimed() -> inbox.Claim:
        with database.begin() as connection:
            return inbox.claim(connection, "ingest", event, "step 1")

    assert claimed() is inbox.Claim.BUSY
    driver = lost.connection.driver_connection
    assert driver is not None
    try:
        driver._usock.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR: closing it sends nothing, as a dead node does
    except OSError as error:
        pytest.skip(f"a connection cannot be cut without a farewell here: {error}")
    socket.socket(fileno=driver._usock.detach()).close()

    assert claimed() is inbox.Claim.BUSY
    end = time.monotonic() + 60
    while claimed() is inbox.Claim.BUSY:
        assert time.monotonic() < end
        time.sleep(0.2)
    with suppress(Exception):
        lost.invalidate()


SECRET = "open-sesame"
REFUSED = (
    "INSERT INTO keeps (name, other) VALUES (%s, '{}')",
    "INSERT INTO keeps (name, size) VALUES (%s, -1)",
    "INSERT INTO keeps (name, other) VALUES (%s, NULL), (NULL, '{}')",
    "SELECT CAST(%s AS uuid)",
    "SELECT CAST(%s AS jsonb)",
    "SELECT CAST(CAST(%s AS text) AS timestamptz)",
    "INSERT INTO nothing_of_this_name VALUES (%s)",
    "INSERT INTO alembic_version VALUES (%s)",
    "SELECT no_function_of_this_name(%s)",
)


def executed(used: Engine, kind: str, statement: str) -> None:
    with used.begin() as connection:
        if kind == "prepared":
            prepared.run(connection, statement, [SECRET])
        else:
            connection.exec_driver_sql(statement, (SECRET,))


@pytest.mark.parametrize("kind", ["engine", "alone", "prepared", "migrating"])
def test_no_bound_value_gets_into_a_line_of_the_log(database: Engine, owner: Engine, kind: str) -> None:
    with owner.begin() as connection:
        connection.execute(
            text("CREATE TABLE keeps (name text PRIMARY KEY, size bigint CHECK (size > 0), other jsonb NOT NULL)")
        )
        connection.execute(text(f"INSERT INTO keeps (name, other) VALUES ('{SECRET}', '{{}}')"))
        connection.execute(text("GRANT ALL ON keeps TO PUBLIC"))
    settings = settings_of(database)
    engine = connections.engine(settings)
    used = {"engine": engine, "migrating": connections.migrating(settings, 5)}.get(kind)
    used = used or connections.standing_alone(engine, settings)
    written = io.StringIO()
    handler, logger = logging.StreamHandler(written), logging.getLogger("perdura.tests")
    handler.setFormatter(JsonLines("tests"))
    logger.addHandler(handler)
    try:
        for statement in REFUSED:
            with pytest.raises(DBAPIError) as raised:
                executed(used, kind, statement)
            assert connections.sqlstate(raised.value)
            logger.error("unforeseen: %s", raised.value, exc_info=raised.value)
    finally:
        logger.removeHandler(handler)
        used.dispose()
    lines = written.getvalue().splitlines()
    assert len([line for line in lines if "Traceback" in line]) == len(REFUSED)
    assert [line for line in lines if SECRET in line] == []
