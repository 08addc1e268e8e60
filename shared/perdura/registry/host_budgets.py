"""What hosts allow, in rows that all instances share: a token bucket per host, and leases of connections.

The arithmetic is `perdura.sources.rate`; here a row is read under a lock and written back in one short transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy import Connection, text

LEASE_SECONDS = 600
"""After this time, the longest that an invocation lives, a connection counts as given back."""

Values = Mapping[str, float]
"""The columns of `host_budget` beside `host`."""

_LOCK = text("""
    INSERT INTO host_budget (host, rate, burst, tokens, at, blocked_until, learnt_at, own_rate)
    SELECT :host, :rate, :burst, :burst, extract(epoch FROM clock_timestamp()), 0, 0, :rate
    ON CONFLICT (host) DO UPDATE SET own_rate = excluded.own_rate, burst = excluded.burst
    RETURNING rate, burst, tokens, at, blocked_until, learnt_at, own_rate,
        extract(epoch FROM clock_timestamp())::float8 AS now
""")

_STORE = text("""
    UPDATE host_budget SET rate = :rate, burst = :burst, tokens = :tokens, at = :at, blocked_until = :blocked_until,
        learnt_at = :learnt_at, own_rate = :own_rate WHERE host = :host
""")


def change(
    connection: Connection, host: str, rate: float, burst: float, decide: Callable[[Values, float], Values]
) -> None:
    """Lock the bucket of a host (made full when it was never asked), decide, keep the result.

    `decide` gets the columns and the database's time in Unix seconds: instances need not agree on the time.
    """
    row = connection.execute(_LOCK, {"host": host, "rate": rate, "burst": burst}).one()
    values = {name: float(value) for name, value in row._mapping.items()}
    now = values.pop("now")
    connection.execute(_STORE, {"host": host, **decide(values, now)})


_LEASE = text("""
    INSERT INTO host_lease (host, slot, holder, expires_at)
    SELECT :host, slot, :holder, clock_timestamp() + interval '1 second' * :seconds
    FROM generate_series(1, :slots) AS slot
    WHERE NOT EXISTS (SELECT FROM host_lease AS held WHERE held.host = :host AND held.slot = slot.slot
                      AND held.expires_at > clock_timestamp())
    ORDER BY slot LIMIT 1
    ON CONFLICT (host, slot) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE host_lease.expires_at <= clock_timestamp()
    RETURNING slot
""")


def lease(connection: Connection, host: str, slots: int, holder: UUID) -> int | None:
    """Take one of a host's connections; None when all are taken (or another instance was faster: ask again)."""
    values = {"host": host, "slots": slots, "holder": holder, "seconds": LEASE_SECONDS}
    return connection.execute(_LEASE, values).scalar_one_or_none()


def give_back(connection: Connection, holder: UUID) -> None:
    """Give back all connections of a holder."""
    connection.execute(text("DELETE FROM host_lease WHERE holder = :holder"), {"holder": holder})
