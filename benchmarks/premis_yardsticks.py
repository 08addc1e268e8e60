"""How fast this machine is beside the one that the figures of premis.md were measured on: its yardsticks, anew.

They need nothing of the PREMIS Event Service but its tables (premis.md 4.6), which are made here with the indexes
named there, and nothing of ours: pg8000 and PostgreSQL alone. A machine that takes longer for them than that one takes
longer for whatever else writes to the same PostgreSQL.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

INSERT, COPY, COUNT, OFFSET = "insert, ms", "COPY, events/s", "count(*), ms", "OFFSET 900000, ms"
REFERENCE = {INSERT: 0.42, COPY: 33_000, COUNT: 91, OFFSET: 536}
"""What they were there."""

DEEP = 900_000
_TOGETHER = 50_000
_TABLES = """
CREATE TABLE event (ordinal serial PRIMARY KEY, event_identifier varchar(64) NOT NULL UNIQUE,
    event_identifier_type varchar(255) NOT NULL, event_type varchar(255) NOT NULL, event_date_time timestamp NOT NULL,
    event_added timestamp NOT NULL, event_detail text NOT NULL, event_outcome varchar(255) NOT NULL,
    event_outcome_detail text NOT NULL, linking_agent_identifier_type varchar(255) NOT NULL,
    linking_agent_identifier_value varchar(255) NOT NULL, linking_agent_role varchar(255) NOT NULL);
CREATE INDEX ON event (event_type);
CREATE INDEX ON event (event_outcome);
CREATE INDEX ON event (event_date_time);
CREATE INDEX ON event (event_added);
CREATE INDEX ON event (linking_agent_identifier_value);
CREATE TABLE object (object_identifier varchar(255) PRIMARY KEY, object_type varchar(255), object_role varchar(255));
CREATE TABLE link (id serial PRIMARY KEY,
    event_id varchar(64) NOT NULL REFERENCES event (event_identifier) DEFERRABLE INITIALLY DEFERRED,
    linkobject_id varchar(255) NOT NULL REFERENCES object DEFERRABLE INITIALLY DEFERRED);
CREATE INDEX ON link (event_id);
CREATE INDEX ON link (linkobject_id);
"""
_COLUMNS = (
    "event_identifier, event_identifier_type, event_type, event_date_time, event_added, event_detail, event_outcome, "
    "event_outcome_detail, linking_agent_identifier_type, linking_agent_identifier_value, linking_agent_role"
)
_INSERT = (
    f"WITH e AS (INSERT INTO event ({_COLUMNS}) VALUES ({', '.join(['%s'] * 11)})), "
    "o AS (INSERT INTO object VALUES (%s, %s, NULL) ON CONFLICT DO NOTHING) "
    "INSERT INTO link (event_id, linkobject_id) VALUES (%s, %s)"
)

Shape = Callable[[int], tuple[str, str, str, datetime, str, str, str, str]]
"""Number of an event -> identifier, type, outcome, date, detail, note, agent, object."""


@dataclass(slots=True)
class Yardsticks:
    """What was measured; `insert` may be measured again and again, and counts by the median of all."""

    connection: Any
    shape: Shape
    inserted: int
    measured: dict[str, float] = field(default_factory=dict)
    _times: list[float] = field(default_factory=list)

    def insert(self, number: int = 400) -> None:
        """Add so many events, each with its object and link by one statement and in a transaction of its own."""
        cursor = self.connection.cursor()
        for _ in range(number):
            event = _row(self.shape, self.inserted)
            object_ = self.shape(self.inserted)[7]
            begin = time.perf_counter()
            cursor.execute(_INSERT, (*event, object_, "ARK", event[0], object_))
            self._times.append((time.perf_counter() - begin) * 1e3)
            self.inserted += 1
        self.measured[INSERT] = statistics.median(self._times)

    def slower(self, name: str) -> float:
        """How many times slower this machine is than that one, by one yardstick."""
        ratio = self.measured[name] / REFERENCE[name]
        return 1 / ratio if name == COPY else ratio

    def lines(self) -> Iterator[str]:
        """A table of them."""
        yield "| yardstick | here | there | times slower here |"
        yield "|---|---|---|---|"
        for name, value in self.measured.items():
            yield f"| {name} | {value:,.{0 if value > 100 else 2}f} | {REFERENCE[name]:,} | {self.slower(name):.2f} |"


@contextmanager
def yardsticks(url: str, number: int, shape: Shape) -> Iterator[Yardsticks]:
    """Tables of `number` events in a database of their own on that PostgreSQL, loaded by COPY; gone at the end."""
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE yardsticks"))
    own = create_engine(make_url(url).set(database="yardsticks"), isolation_level="AUTOCOMMIT")
    try:
        with own.connect() as connection:
            connection.exec_driver_sql(_TABLES)
            driver = connection.connection.dbapi_connection
            made = Yardsticks(driver, shape, number)
            made.measured[COPY] = _load(driver, number, shape)
            connection.execute(text("VACUUM ANALYZE"))
            if number >= DEEP:
                for name, query in ((COUNT, "SELECT count(*) FROM event"), (OFFSET, _deep())):
                    made.measured[name] = min(_took(driver, f"EXPLAIN ANALYZE {query}") for _ in range(3)) * 1e3
            made.insert()
            yield made
    finally:
        own.dispose()
        with server.connect() as connection:
            connection.execute(text("DROP DATABASE yardsticks WITH (FORCE)"))
        server.dispose()


def _deep() -> str:
    return f"SELECT * FROM event ORDER BY event_added OFFSET {DEEP} LIMIT 200"


def _row(shape: Shape, number: int) -> tuple[object, ...]:
    identifier, type_, outcome, date, detail, note, agent, _ = shape(number)
    moment = date.replace(tzinfo=None)
    return (identifier, "UUID", type_, moment, moment, detail, outcome, note, "URL", agent, "")


def _load(driver: Any, number: int, shape: Shape) -> float:
    """Events per second by COPY, of events and links."""
    spent, objects = 0.0, set[str]()
    for first in range(0, number, _TOGETHER):
        numbers = range(first, min(number, first + _TOGETHER))
        events = "".join("\t".join(map(str, _row(shape, k))) + "\n" for k in numbers)
        linked = [(shape(k)[0], shape(k)[7]) for k in numbers]
        new = {name for _, name in linked} - objects
        objects |= new
        cursor = driver.cursor()
        begin = time.perf_counter()
        _copy(cursor, f"event ({_COLUMNS})", events)
        _copy(cursor, "object (object_identifier)", "".join(f"{name}\n" for name in sorted(new)))
        _copy(cursor, "link (event_id, linkobject_id)", "".join(f"{event}\t{name}\n" for event, name in linked))
        spent += time.perf_counter() - begin
    return number / spent


def _copy(cursor: Any, table: str, lines: str) -> None:
    cursor.execute(f"COPY {table} FROM STDIN", stream=iter([lines.encode()]))


def _took(driver: Any, statement: str) -> float:
    begin = time.perf_counter()
    driver.cursor().execute(statement)
    return time.perf_counter() - begin
