"""Leases: who alone publishes a Resource on an access system (inveniordm.md 4), for as long as it gives signs of life.

Each is a row that is taken, renewed and given back in transactions of milliseconds: the minutes of an upload hold no
connection. Who was silent for too long is taken for dead and followed by another. One who was not finds a token that
is not its own, before its next step and within the transaction of whatever it notes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from perdura.errors import DatabaseUnavailable, Retryable
from perdura.ids import new_id
from perdura.registry.transactions import transaction

_log = logging.getLogger(__name__)

LEASE = 30.0
"""Seconds of silence after which a worker is taken for dead."""

LONGEST = 900.0
"""Seconds after which a lease is renewed by itself no more; no invocation lives for longer than ten minutes."""

_TAKE = text("""
    INSERT INTO publication_lease (system, resource, token, ends_at)
    VALUES (:system, :resource, :token, clock_timestamp() + interval '1 second' * :seconds)
    ON CONFLICT (system, resource) DO UPDATE SET token = excluded.token, ends_at = excluded.ends_at
    WHERE publication_lease.ends_at <= clock_timestamp()
    RETURNING token
""")

_RENEW = text("""
    UPDATE publication_lease SET ends_at = clock_timestamp() + interval '1 second' * :seconds
    WHERE system = :system AND resource = :resource AND token = :token
""")

_GIVE_BACK = text("DELETE FROM publication_lease WHERE system = :system AND resource = :resource AND token = :token")


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease that was taken; `token` is that of no other, of this or of any other worker."""

    system: str
    resource: str
    token: UUID

    def renew(self, connection: Connection) -> None:
        """Give a sign of life, and let nobody take it over before the end of this transaction.

        Raises Retryable when somebody did before it.
        """
        if connection.execute(_RENEW, {**self._row(), "seconds": LEASE}).rowcount != 1:
            raise Retryable("The lease of the publication was taken over.", code="lock-lost", retry_after=3)

    def _row(self) -> dict[str, object]:
        return {"system": self.system, "resource": self.resource, "token": self.token}

    def _take(self, engine: Engine) -> bool:
        with transaction(engine) as connection:
            return connection.execute(_TAKE, {**self._row(), "seconds": LEASE}).one_or_none() is not None

    def _keep(self, engine: Engine, ended: threading.Event) -> None:
        end = monotonic() + LONGEST
        while not ended.wait(LEASE / 3) and monotonic() < end:
            try:
                with transaction(engine) as connection:
                    self.renew(connection)
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                _log.warning("a lease could not be renewed: %s", type(error).__name__)
            except Retryable:
                return

    def _give_back(self, engine: Engine) -> None:
        try:
            with engine.begin() as connection:
                connection.execute(_GIVE_BACK, self._row())
        except SQLAlchemyError as error:
            _log.warning("a lease is left to end by itself: %s", type(error).__name__)


@contextmanager
def held(engine: Engine, system: str, resource: str) -> Iterator[Lease]:
    """Hold the lease of a Resource at an access system. Raises Retryable when another worker does.

    A thread of its own renews it, for one request may take longer than the lease.
    """
    lease = Lease(system, resource, new_id())
    if not lease._take(engine):
        raise Retryable(f"Another delivery is publishing it on {system}.", code="busy", retry_after=3)
    ended = threading.Event()
    keeper = threading.Thread(target=lease._keep, args=(engine, ended), name="lease", daemon=True)
    keeper.start()
    try:
        yield lease
    finally:
        ended.set()
        keeper.join()
        lease._give_back(engine)
