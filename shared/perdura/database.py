"""The database: one engine per process, and one beside it for statements that stand alone.

PostgreSQL 15 or later through pg8000; no extension is needed (embedded-services.md 1.3). Times come in UTC, whatever
the zone of the server. No error that it raises holds a value: neither the bound ones nor those that PostgreSQL quotes.
"""

from __future__ import annotations

import logging
import socket
import time
from functools import cache
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from pg8000.core import ERROR_RESPONSE
from pg8000.exceptions import DatabaseError
from sqlalchemy import URL, Row, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
    PendingRollbackError,
    ResourceClosedError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import NullPool

from perdura import numbered
from perdura.prepared import IDLE, execute
from perdura.settings import Settings

_log = logging.getLogger(__name__)

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row of any columns, read by name; the statement that made it is in the same module."""

KEEPALIVES = {"idle": 30, "interval": 10, "count": 3}
"""Seconds of silence after which either side asks whether the other is still there, seconds between, how many times."""

_OPTIONS = {"idle": "IDLE", "interval": "INTVL", "count": "CNT"}

_SAYS_WHERE = frozenset("SVCMstcdnFLR")
"""Fields of PostgreSQL's error messages that name no value: the detail, the hint and the context do."""

_alone: WeakKeyDictionary[Engine, Engine] = WeakKeyDictionary()


_PASSING = ("08", "25", "40", "53", "55", "57")
"""Classes of SQLSTATE that say "not now": connection, transaction, serialisation, resources, lock, operator."""


def passing(error: Exception) -> bool:
    """Whether the database could not be reached, or had no room for us at the moment: the same will work later.

    Anything else that SQLAlchemy raises is a mistake of ours or of the data, and will be the next time too.
    """
    if isinstance(error, (PoolTimeout, PendingRollbackError, ResourceClosedError)):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if sqlstate(error).startswith(_PASSING):
        return True
    return isinstance(error, (OperationalError, InterfaceError)) or error.connection_invalidated


def sqlstate(error: Exception) -> str:
    """The SQLSTATE that the database gave, or nothing. Class 22 is bad data: a NUL character in a text, say."""
    if not isinstance(error, DBAPIError) or error.orig is None or not error.orig.args:
        return ""
    told = error.orig.args[0]
    return str(told.get("C", "")) if isinstance(told, dict) else ""


def dangling(error: Exception) -> bool:
    """Whether a row would have named another one that is not there (any more): a foreign key was violated.

    pg8000 gives an IntegrityError for what has to be unique alone; this one is a ProgrammingError.
    """
    return sqlstate(error) == "23503"


def engine(settings: Settings) -> Engine:
    """The engine of this process; connections are opened when first needed, so importing costs nothing."""
    return _engine(
        settings.database_url.get_secret_value(), settings.database_pool_size, settings.database_statement_timeout
    )


@cache
def _engine(url: str, pool_size: int, timeout: float) -> Engine:
    made = connecting(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args=_connect_args(timeout),
    )
    event.listen(made, "handle_error", leave_half_said)
    return made


def connecting(url: str | URL, **options: Any) -> Engine:
    """An engine of its own with SQLAlchemy's `options`, whose connections are told of by no value and end when the
    other side is gone. Every engine is made here.
    """
    numbered.remember()
    made = create_engine(url, hide_parameters=True, **options)
    event.listen(made, "connect", _connected)
    return made


def _connected(connection: Any, _record: Any) -> None:
    hide_values(connection)
    send_at_once(connection)
    notice_loss(connection)


def hide_values(connection: Any) -> None:
    """Keep of what PostgreSQL says of an error only what names no value: it quotes rows and keys in the detail."""
    tell = connection.message_types[ERROR_RESPONSE]

    def told(data: Any, context: Any) -> None:
        tell(data, context)
        said = context.error.args[0]
        kept = {field: text for field, text in said.items() if field in _SAYS_WHERE}
        if said.get("C", "").startswith("22"):
            kept["M"] = said.get("M", "").partition(":")[0].partition('"')[0].rstrip()
        context.error.args = (kept,)

    connection.message_types[ERROR_RESPONSE] = told


def notice_loss(connection: Any) -> None:
    """Have both sides find out within a minute that the other is gone without a farewell, as when a node dies.

    Otherwise the server holds what the lost one held, its claims above all (ADR 1), for more than two hours. Through a
    pooler the server's side is the pooler's, which has to do the same by itself (`infra/knative/components/pgbouncer`).
    """
    if connection._usock.family == socket.AF_UNIX:
        return
    for name, value in KEEPALIVES.items():
        option = getattr(socket, f"TCP_KEEP{_OPTIONS[name]}", None)
        if option is not None:
            connection._usock.setsockopt(socket.IPPROTO_TCP, option, value)
    wanted = ", ".join(f"set_config('tcp_keepalives_{name}', '{value}', false)" for name, value in KEEPALIVES.items())
    try:
        connection.execute_simple(f"SELECT {wanted}")
    except DatabaseError as error:
        _log.info("the server keeps its keepalives: %s", error.args[0].get("C"))


def migrating(settings: Settings, lock_seconds: float) -> Engine:
    """An engine for migrations: as the owner of the tables, without a limit for statements but one for locks.

    It keeps no connections; the caller disposes of it.
    """
    url = settings.database_owner_url or settings.database_url
    made = connecting(
        url.get_secret_value(),
        poolclass=NullPool,
        connect_args={"timeout": None, "application_name": "perdura-migration"},
    )

    def limit(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(f"SET lock_timeout = {round(1000 * lock_seconds)}")
        cursor.close()
        connection.commit()

    event.listen(made, "connect", limit)
    return made


def leave_half_said(context: ExceptionContext) -> None:
    """Let go of a connection whose driver failed amid a message: its next answers would be those to another question.

    So it is with what cannot be written as UTF-8 or as a time. An error that the database told leaves it whole.
    """
    if context.dialect.dbapi is None or not isinstance(context.original_exception, context.dialect.dbapi.Error):
        context.is_disconnect, context.invalidate_pool_on_disconnect = True, False


def send_at_once(connection: Any) -> None:
    """Let the socket of a new connection send the rest of a long statement at once.

    Otherwise whatever exceeds the driver's buffer of 8 KiB waits 40 ms for the server to acknowledge the beginning.
    """
    if connection._usock.family != socket.AF_UNIX:
        connection._usock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def standing_alone(beside: Engine, settings: Settings) -> Engine:
    """The engine for statements that each are their own transaction, on the database of `beside`.

    Its connections keep statements prepared, so that one costs one message to the server and back, where a
    transaction with an unprepared one costs six. It lives and is disposed of with `beside`.
    """
    known = _alone.get(beside)
    if known is not None:
        return known
    made = connecting(
        beside.url,
        isolation_level="AUTOCOMMIT",
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=10,
        pool_recycle=1800,
        pool_use_lifo=True,
        connect_args=_connect_args(settings.database_statement_timeout),
    )
    event.listen(made, "handle_error", leave_half_said)
    event.listen(made, "do_execute", execute)
    event.listen(made, "checkin", _left)
    event.listen(made, "checkout", _ask_idle(made))
    event.listen(beside, "engine_disposed", lambda _: made.dispose())
    return _alone.setdefault(beside, made)


def _connect_args(timeout: float) -> dict[str, Any]:
    return {"timeout": timeout, "application_name": "perdura", "startup_params": {"TimeZone": "UTC"}}


def _left(_connection: Any, record: Any) -> None:
    record.info["left"] = time.monotonic()


def _ask_idle(pooled: Engine) -> Any:
    def ask(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("left", time.monotonic()) < IDLE:
            return
        try:
            alive = pooled.dialect.do_ping(connection)
        except pooled.dialect.loaded_dbapi.Error:
            alive = False
        if not alive:
            raise InvalidatePoolError("the database has closed the connection")

    return ask
