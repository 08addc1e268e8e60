"""Undelivered events in PostgreSQL, in a schema of its own that makes itself (embedded-services.md §8.1).

Writes are gathered: whatever came up while the last statement ran goes into the next, so that a busy broker needs
less than two statements per event, and an idle one answers after a single round trip. An entry belongs to the
process whose number it bears for as long as that process holds its advisory lock; a killed broker loses the lock
with its connection, and the next one adopts what it left.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import pg8000.native

from perdura.database import notice_loss
from perdura.errors import DatabaseUnavailable
from perdura.local.broker.envelope import dump, load
from perdura.local.broker.journal import Entry, Stage

_NOBODY = 0
_LOCK_CLASS = 0x5065_7264
_BATCH = 500
_PAUSE = 0.5
_T = TypeVar("_T")

_SCHEMA = (
    "SELECT pg_advisory_xact_lock(:lock_class, 0)",
    "CREATE SCHEMA IF NOT EXISTS broker",
    "CREATE SEQUENCE IF NOT EXISTS broker.process AS integer MINVALUE 1 CYCLE",
    """CREATE TABLE IF NOT EXISTS broker.entry (
        id bigint PRIMARY KEY,
        owner integer NOT NULL,
        trigger text NOT NULL,
        stage text NOT NULL,
        attempts integer NOT NULL,
        due timestamptz NOT NULL DEFAULT now(),
        reason text,
        event text NOT NULL
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)""",
    "CREATE INDEX IF NOT EXISTS ix_entry_owner ON broker.entry (owner, id) WHERE stage <> 'dead'",
)

_THERE = "SELECT to_regclass('broker.entry') IS NOT NULL"

BROKER_ROLE = "perdura_broker"
"""The role of a broker that is not the owner of the database, where there is one."""

_RIGHTS = (
    f"GRANT USAGE ON SCHEMA broker TO {BROKER_ROLE}",
    f"GRANT SELECT, INSERT, UPDATE, DELETE ON broker.entry TO {BROKER_ROLE}",
    f"GRANT USAGE ON SEQUENCE broker.process TO {BROKER_ROLE}",
)

_WRITE = """
WITH finished AS (DELETE FROM broker.entry WHERE id = ANY (CAST(:finished AS bigint[])))
INSERT INTO broker.entry (id, owner, trigger, stage, attempts, event)
SELECT id, owner, trigger, 'subscriber', 0, event
FROM json_to_recordset(CAST(:added AS json)) AS added (id bigint, owner integer, trigger text, event text)
ON CONFLICT (id) DO NOTHING"""

_UPDATE = """
UPDATE broker.entry SET stage = new.stage, attempts = new.attempts, due = now() + make_interval(secs => new.due),
       reason = new.reason, event = coalesce(new.event, entry.event)
FROM json_to_recordset(CAST(:updated AS json))
     AS new (id bigint, stage text, attempts integer, due double precision, reason text, event text)
WHERE entry.id = new.id"""

_ADOPT = """
WITH living AS MATERIALIZED (
    SELECT objid::bigint AS owner FROM pg_locks
    WHERE locktype = 'advisory' AND classid::bigint = :lock_class AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
), left_over AS (
    SELECT id FROM broker.entry
    WHERE stage <> 'dead' AND trigger = ANY (CAST(:triggers AS text[]))
      AND owner NOT IN (SELECT owner FROM living)
    ORDER BY id LIMIT :maximum FOR UPDATE SKIP LOCKED
)
UPDATE broker.entry SET owner = :owner FROM left_over WHERE entry.id = left_over.id
RETURNING entry.id, trigger, stage, attempts, greatest(0, extract(epoch FROM due - now()))::double precision,
          reason, event"""


@dataclass(slots=True)
class _Write:
    """What one call wants written; `done` is set if the caller waits for it."""

    finished: list[int] = field(default_factory=list)
    added: list[tuple[Entry, int]] = field(default_factory=list)
    updated: list[dict[str, Any]] = field(default_factory=list)
    done: asyncio.Future[None] | None = None


class PostgresJournal:
    """Keeps entries in the table `broker.entry` over one connection, used by one thread."""

    def __init__(self, database_url: str) -> None:
        self._arguments = connection_arguments(database_url)
        self._thread = ThreadPoolExecutor(1, "broker-journal")
        self._connection: pg8000.native.Connection | None = None
        self._prepared: dict[str, Any] = {}
        self._owner = _NOBODY
        self._counter = 0
        self._queue: list[_Write] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, make the schema where it is missing, take a number. Raises DatabaseUnavailable."""
        await self._in_thread(self._connect)
        self._writer = asyncio.create_task(self._write_for_ever())

    def new_id(self) -> int:
        """A number no other process gives."""
        self._counter += 1
        return self._owner << 32 | self._counter

    async def add(self, entries: Sequence[Entry], *, leave: bool = False) -> None:
        """Commit new entries. Raises DatabaseUnavailable."""
        owner = _NOBODY if leave else self._owner
        await self._enqueue(_Write(added=[(entry, owner) for entry in entries]), wait=True)

    async def finish(self, entry: Entry, replies: Sequence[Entry] = ()) -> None:
        """Delete an entry and add its replies in one statement. Raises DatabaseUnavailable if it has any."""
        write = _Write(finished=[entry.id], added=[(reply, self._owner) for reply in replies])
        await self._enqueue(write, wait=bool(replies))

    def update(self, entry: Entry) -> None:
        """Write the entry's new state with the next batch."""
        self._queue.append(
            _Write(
                updated=[
                    {
                        "id": entry.id,
                        "stage": entry.stage,
                        "attempts": entry.attempts,
                        "due": entry.due,
                        "reason": entry.reason,
                        "event": dump(entry.event) if entry.stage is Stage.DEAD_LETTER else None,
                    }
                ]
            )
        )
        self._wake.set()

    async def adopt(self, triggers: Sequence[str], limit: int) -> list[Entry]:
        """Take over what no living process holds. Raises DatabaseUnavailable."""

        def run() -> Sequence[Sequence[Any]]:
            return self._run(
                _ADOPT,
                lock_class=_LOCK_CLASS,
                triggers=list(triggers),
                maximum=limit,
                owner=self._owner,
            )

        rows = await self._in_thread(run)
        return [
            Entry(id, trigger, load(event), Stage(stage), attempts, due, reason)
            for id, trigger, stage, attempts, due, reason, event in sorted(rows, key=lambda row: row[0])
        ]

    async def count_dead(self) -> int:
        """How many entries are dead, of all brokers. Raises DatabaseUnavailable."""
        rows = await self._in_thread(lambda: self._run("SELECT count(*) FROM broker.entry WHERE stage = 'dead'"))
        return int(rows[0][0])

    async def close(self) -> None:
        """Write what is queued if that is possible at once; what is held stays for the next process."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        queue, self._queue = self._queue, []
        try:
            await self._in_thread(lambda: self._write(queue))
        except DatabaseUnavailable:
            for write in queue:
                _fail(write, DatabaseUnavailable("the broker is closing"))
        self._thread.shutdown(wait=False)
        if self._connection is not None:
            _close(self._connection)

    async def _enqueue(self, write: _Write, *, wait: bool) -> None:
        if wait:
            write.done = asyncio.get_running_loop().create_future()
        self._queue.append(write)
        self._wake.set()
        if write.done is not None:
            await write.done

    async def _write_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue[:_BATCH], self._queue[_BATCH:]
                try:
                    await self._in_thread(lambda batch=batch: self._write(batch))  # type: ignore[misc]
                except DatabaseUnavailable as error:
                    for write in batch:
                        _fail(write, error)
                    self._queue[:0] = [write for write in batch if write.done is None]
                    await asyncio.sleep(_PAUSE)
                except asyncio.CancelledError:
                    self._queue[:0] = batch
                    raise
                else:
                    for write in batch:
                        if write.done is not None and not write.done.done():
                            write.done.set_result(None)

    def _write(self, batch: Sequence[_Write]) -> None:
        """Write a batch: one statement, or a transaction of two if there are updates."""
        finished = [id for write in batch for id in write.finished]
        added = [
            {"id": entry.id, "owner": owner, "trigger": entry.trigger, "event": dump(entry.event)}
            for write in batch
            for entry, owner in write.added
        ]
        updated = [row for write in batch for row in write.updated]
        if updated:
            self._run("BEGIN")
            self._run(_UPDATE, updated=json.dumps(updated))
        if finished or added:
            self._run(_WRITE, finished="{" + ",".join(map(str, finished)) + "}", added=json.dumps(added))
        if updated:
            self._run("COMMIT")

    def _run(self, sql: str, **values: Any) -> Sequence[Sequence[Any]]:
        """Run a prepared statement, connecting first where the connection was lost."""
        try:
            if self._connection is None:
                self._connect()
            if sql not in self._prepared:
                assert self._connection is not None
                self._prepared[sql] = self._connection.prepare(sql)
            return self._prepared[sql].run(**values) or ()
        except (OSError, pg8000.native.Error) as error:
            self._disconnect()
            raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error

    def _connect(self) -> None:
        """Connect; the number of the process and its lock are taken again after a loss."""
        try:
            connection = pg8000.native.Connection(**self._arguments, application_name="perdura-broker", timeout=30)
        except (OSError, pg8000.native.Error) as error:
            raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error
        try:
            notice_loss(connection)
            if self._owner == _NOBODY:
                if not connection.run(_THERE)[0][0]:
                    _make(connection)
                self._owner = connection.run("SELECT nextval('broker.process')::integer")[0][0]
            connection.run("SELECT pg_advisory_lock(:lock_class, :owner)", lock_class=_LOCK_CLASS, owner=self._owner)
        except (OSError, pg8000.native.Error) as error:
            _close(connection)
            raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error
        self._connection = connection
        self._prepared = {}

    def _disconnect(self) -> None:
        if self._connection is not None:
            _close(self._connection)
        self._connection = None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that could be delivered nowhere."""

    id: int
    trigger: str
    event_type: str
    event_id: str
    reason: str | None


def dead_letters(database_url: str, limit: int = 1000) -> list[DeadLetter]:
    """The dead entries of all brokers of a database, oldest first. Raises DatabaseUnavailable."""
    sql = "SELECT id, trigger, event, reason FROM broker.entry WHERE stage = 'dead' ORDER BY id LIMIT :maximum"
    letters = []
    for number, trigger, text, reason in _once(database_url, sql, maximum=limit):
        attributes = load(text).attributes
        letters.append(DeadLetter(number, trigger, attributes["type"], attributes["id"], reason))
    return letters


def replay(database_url: str, ids: Sequence[int]) -> int:
    """Give dead entries another full round; how many there were. Raises DatabaseUnavailable."""
    sql = """UPDATE broker.entry SET stage = 'subscriber', attempts = 0, due = now(), owner = 0
             WHERE stage = 'dead' AND id = ANY (CAST(:ids AS bigint[])) RETURNING id"""
    return len(_once(database_url, sql, ids="{" + ",".join(map(str, ids)) + "}"))


def _once(database_url: str, sql: str, **values: Any) -> Sequence[Sequence[Any]]:
    try:
        connection = pg8000.native.Connection(**connection_arguments(database_url), timeout=30)
    except (OSError, pg8000.native.Error) as error:
        raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error
    try:
        return connection.run(sql, **values) or ()
    except (OSError, pg8000.native.Error) as error:
        raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error
    finally:
        _close(connection)


def connection_arguments(database_url: str) -> dict[str, Any]:
    """pg8000's arguments for an SQLAlchemy URL such as `postgresql+pg8000://user:password@host:port/name`."""
    parts = urlsplit(database_url)
    arguments: dict[str, Any] = {
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password) if parts.password else None,
        "database": unquote(parts.path.removeprefix("/")),
    }
    socket = parse_qs(parts.query).get("unix_sock")
    if socket:
        return arguments | {"unix_sock": socket[0]}
    return arguments | {"host": parts.hostname or "127.0.0.1", "port": parts.port or 5432}


def prepare(owner_url: str) -> None:
    """Make the schema as the owner of the database, for a broker that has a role to itself; nothing where none has.

    Raises DatabaseUnavailable.
    """
    if not _once(owner_url, f"SELECT to_regrole('{BROKER_ROLE}') IS NOT NULL")[0][0]:
        return
    try:
        connection = pg8000.native.Connection(**connection_arguments(owner_url), timeout=30)
    except (OSError, pg8000.native.Error) as error:
        raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error
    try:
        _make(connection, _RIGHTS)
    except (OSError, pg8000.native.Error) as error:
        raise DatabaseUnavailable(f"the broker's journal: {_short(error)}") from error
    finally:
        _close(connection)


def _make(connection: pg8000.native.Connection, further: Sequence[str] = ()) -> None:
    connection.run("BEGIN")
    for statement in (*_SCHEMA, *further):
        connection.run(statement, **({"lock_class": _LOCK_CLASS} if ":lock_class" in statement else {}))
    connection.run("COMMIT")


def _fail(write: _Write, error: Exception) -> None:
    if write.done is not None and not write.done.done():
        write.done.set_exception(error)


def _close(connection: pg8000.native.Connection) -> None:
    try:
        connection.close()
    except (OSError, pg8000.native.Error):
        return


def _short(error: BaseException) -> str:
    """The message of a database error, without the statement and its values."""
    if error.args and isinstance(error.args[0], dict):
        return str(error.args[0].get("M", type(error).__name__))
    return type(error).__name__
