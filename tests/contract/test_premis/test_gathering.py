"""Concurrent writers: their events go together, and each is told what became of its own."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from perdura import prepared
from perdura.database import standing_alone
from perdura.premis import log
from perdura.premis.gathering import Gathering
from perdura.premis.log import Stored
from perdura.premis.model import Event, Identifier
from perdura.settings import Settings

SETTINGS = Settings()  # type: ignore[call-arg]


def an_event(**values: object) -> Event:
    made: dict[str, object] = {"id": uuid.uuid4(), "type": "fixity check", "at": datetime.now(UTC)}
    return Event(**(made | values))  # type: ignore[arg-type]


def _as_it_is(stored: Stored) -> Stored:
    return stored


@pytest.fixture
def alone(engine: Engine) -> Engine:
    return standing_alone(engine, SETTINGS)


@pytest.fixture
def held(engine: Engine, alone: Engine) -> Iterator[tuple[Gathering, threading.Event]]:
    """A gathering whose first statement is held until told, so that what comes meanwhile gathers."""
    gathering, release, first = Gathering(alone), threading.Event(), threading.Lock()

    def hold(*_: object) -> None:
        if first.acquire(blocking=False):
            release.wait(10)

    event.listen(alone, "before_cursor_execute", hold)
    yield gathering, release
    release.set()
    event.remove(alone, "before_cursor_execute", hold)


def _add_all(gathering: Gathering, release: threading.Event, events: list[Event]) -> list[Stored | Exception | None]:
    def add(one: Event) -> Stored | Exception | None:
        try:
            return gathering.add(one, actor="test", answer=_as_it_is)
        except DBAPIError as error:
            return error

    with ThreadPoolExecutor(len(events)) as pool:
        futures = [pool.submit(add, one) for one in events]
        time.sleep(0.3)
        release.set()
        return [future.result(20) for future in futures]


def test_what_comes_while_a_statement_runs_is_added_by_the_next(
    alone: Engine, held: tuple[Gathering, threading.Event]
) -> None:
    statements: list[str] = []
    event.listen(alone, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    events = [an_event(objects=(Identifier("ARK", "new object"),)) for _ in range(12)]
    assert all(isinstance(each, Stored) for each in _add_all(*held, events))
    assert len(statements) == 2
    with alone.connect() as connection:
        assert len(log.events_of(connection, "new object")) == 12


def test_of_one_identifier_one_is_stored(held: tuple[Gathering, threading.Event]) -> None:
    one = an_event()
    results = _add_all(*held, [one] * 10)
    assert sum(isinstance(each, Stored) for each in results) == 1
    assert results.count(None) == 9


def test_an_event_that_cannot_be_stored_harms_no_other(alone: Engine, held: tuple[Gathering, threading.Event]) -> None:
    events = [an_event() for _ in range(6)]
    events[3] = an_event(version="2.3", type="nul \0 in a value")
    results = _add_all(*held, events)
    assert [isinstance(each, Stored) for each in results] == [True, True, True, False, True, True]
    assert isinstance(results[3], DBAPIError)
    with alone.connect() as connection:
        assert [log.find(connection, each.id) is not None for each in events] == [n != 3 for n in range(6)]


def test_eight_writers_lose_nothing(alone: Engine) -> None:
    gathering = Gathering(alone)
    events = [[an_event(objects=(Identifier("ARK", f"of writer {n}"),)) for _ in range(40)] for n in range(8)]

    def add(mine: list[Event]) -> list[Stored | None]:
        return [gathering.add(each, actor="test", answer=_as_it_is) for each in mine]

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(add, events))
    assert all(isinstance(each, Stored) for mine in done for each in mine)
    with alone.connect() as connection:
        for n in range(8):
            found = log.events_of(connection, f"of writer {n}", limit=100)
            assert [each.event_id for each in found] == [each.id for each in events[n]]


def test_what_tells_of_events_is_written_with_them(another: Engine, held: tuple[Gathering, threading.Event]) -> None:
    with another.begin() as connection:
        connection.execute(text("CREATE TABLE outbox (id uuid PRIMARY KEY, event jsonb, next_at timestamptz)"))
    gathering = Gathering(standing_alone(another, SETTINGS))
    events = [an_event() for _ in range(10)]
    events[5] = events[4]

    def add(one: Event) -> Stored | None:
        told = json.dumps({"id": str(uuid.uuid4()), "of": str(one.id)})
        return gathering.add(one, actor="test", answer=_as_it_is, told=told)

    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(add, events))
    assert results.count(None) == 1
    with another.connect() as connection:
        told = [each for (each,) in connection.execute(text("SELECT event ->> 'of' FROM outbox"))]
    assert set(told) == {str(each.id) for each in events}


def test_a_statement_is_prepared_once_and_only_so_many_are_kept(
    another: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = standing_alone(another, SETTINGS)
    monkeypatch.setattr(prepared, "PREPARED", 3)
    with alone.connect() as connection:
        for n in [1, 2, 3, 4, 1, 4, 4, 4]:
            assert connection.exec_driver_sql(f"SELECT %s::int + {n}, '100%%'", (n,)).one() == (2 * n, "100%")
        kept = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_prepared_statements WHERE from_sql IS FALSE"
        ).scalar()
    assert kept <= 3


def test_connections_that_the_database_closed_are_replaced(postgres: str, another: Engine) -> None:
    alone = standing_alone(another, SETTINGS)
    with alone.connect() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    administrator = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    administrator.dispose()
    with alone.connect() as connection, pytest.raises(DBAPIError) as failure:
        connection.exec_driver_sql("SELECT %s::int", (1,))
    assert failure.value.connection_invalidated
    with alone.connect() as connection:
        assert connection.exec_driver_sql("SELECT %s::int", (1,)).scalar() == 1
