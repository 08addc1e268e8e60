"""The connection to the database: what cannot be sent spoils nothing for who comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from perdura import database as connections
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
