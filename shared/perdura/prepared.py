"""Statements that a connection keeps prepared, sent straight to the driver (pg8000), one message each way.

Between a statement of SQLAlchemy and the server lie layers that take more time than recording an event does, and the
driver has the server answer each part of an execution, which wakes both sides up several times.
"""

from __future__ import annotations

import re
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from pg8000.converters import make_params
from pg8000.core import EXECUTE_MSG, SYNC_MSG, Context
from pg8000.exceptions import InterfaceError
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from perdura import tracing
from perdura.arrays import Binary

PREPARED = 64
"""Statements that a connection keeps prepared; the one not used for longest makes room."""

IDLE = 5.0
"""Seconds after which a connection is asked whether it still works before it is used."""

_MARK = re.compile("%[s%]")
_LENGTH = struct.Struct("!i")
_NO_VALUE = _LENGTH.pack(-1)


class Held:
    """A connection of `database.standing_alone` that its one user keeps.

    Not safe among threads. Whoever listens to `before_cursor_execute` of the engine hears of its statements as well.
    """

    def __init__(self, alone: Engine) -> None:
        self._engine = alone
        self._connection: Connection | None = None
        self._used = 0.0

    def connection(self) -> Connection:
        """The connection, given back and taken anew when it was idle: the pool then asks whether it still works."""
        now = time.monotonic()
        if self._connection is not None and (self._connection.invalidated or now - self._used >= IDLE):
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = self._engine.connect()
        self._used = now
        return self._connection


def run(
    connection: Connection | Held,
    statement: str,
    parameters: Sequence[Any],
    meanwhile: Callable[[], object] | None = None,
) -> list[Any]:
    """The rows of a statement (`%s` marks its parameters), in the connection's transaction. Raises DBAPIError.

    `meanwhile` is called once, after the statement was sent and before its answer is waited for.
    """
    if isinstance(connection, Held):
        connection = connection.connection()
    driver = connection.dialect.loaded_dbapi
    cursor = connection.connection.cursor()
    for heard in connection.engine.dispatch.before_cursor_execute:
        heard(connection, cursor, statement, parameters, None, False)
    try:
        with tracing.sql(statement):
            begin(cursor)
            return list(_answered(cursor, statement, parameters, meanwhile).rows or ())
    except driver.Error as error:
        lost = isinstance(error, InterfaceError)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, driver.Error, hide_parameters=True, connection_invalidated=lost,
            dialect=connection.dialect,
        ) from error  # fmt: skip


def begin(cursor: Any) -> None:
    """Begin a transaction as the driver does before its own statements."""
    connection = cursor._c
    if not connection.autocommit and not connection._in_transaction:
        connection.execute_simple("begin transaction")


def execute(cursor: Any, statement: str, parameters: Sequence[Any], _context: Any) -> bool:
    """Run a statement on a cursor of the driver as one that the connection keeps prepared."""
    done = _answered(cursor, statement, parameters)
    cursor._context = done
    cursor._row_iter = iter(done.rows or ())
    return True


def _answered(
    cursor: Any, statement: str, parameters: Sequence[Any], meanwhile: Callable[[], object] | None = None
) -> Context:
    """What the driver keeps of a statement that was run."""
    try:
        return _execute(cursor._c, statement, parameters, meanwhile)
    except OSError as error:
        # The driver says so itself when it cannot write, not when it cannot read.
        raise InterfaceError("network error") from error


def _execute(
    connection: Any, statement: str, parameters: Sequence[Any], meanwhile: Callable[[], object] | None
) -> Context:
    known: OrderedDict[str, Any] = connection.__dict__.setdefault("prepared", OrderedDict())
    prepared = known.get(statement)
    if prepared is None:
        if len(known) >= PREPARED:
            name, *_ = known.popitem(last=False)[1]
            connection.close_prepared_statement(name)
        prepared = known[statement] = connection.prepare_statement(_numbered(statement), ())
    known.move_to_end(statement)
    name, columns, converters = prepared
    done = Context(statement, columns=columns, input_funcs=converters)
    connection._sock.write(_message(name, connection.py_types, parameters))
    connection._sock.flush()
    try:
        if meanwhile is not None:
            meanwhile()
    finally:
        connection.handle_messages(done)
    return done


def _message(name: bytes, types: Any, parameters: Sequence[Any]) -> bytes:
    """Bind, Execute and Sync (PostgreSQL: Message Formats); parameters that are `Binary` are sent as they are."""
    formats: list[bytes] = []
    values: list[bytes] = []
    for each in parameters:
        if isinstance(each, Binary):
            formats.append(b"\0\1")
            values += (_LENGTH.pack(len(each)), each)
            continue
        formats.append(b"\0\0")
        text = each
        if each is not None and each.__class__ is not str:
            (text,) = make_params(types, (each,))
        if text is None:
            values.append(_NO_VALUE)
        else:
            encoded = text.encode()
            values += (_LENGTH.pack(len(encoded)), encoded)
    count = struct.pack("!H", len(formats))
    bound = (b"\0", name, count, *formats, count, *values, b"\0\0")
    return b"".join((b"B", _LENGTH.pack(sum(map(len, bound)) + 4), *bound, EXECUTE_MSG, SYNC_MSG))


@lru_cache(maxsize=512)
def _numbered(statement: str) -> str:
    """A statement with `%s` as PostgreSQL writes it: `$1`, `$2` …"""
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] == "%%":
            return "%"
        count += 1
        return f"${count}"

    return _MARK.sub(mark, statement)
