"""Buckets of requests, shared by all processes: each is refilled all the time, and requests are taken from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, Double, Integer, PrimaryKeyConstraint, Text, delete, func, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base

FULL_AGAIN = timedelta(minutes=2)
"""A bucket that was not used for so long is full: it need not be remembered."""


class RateBucket(Base):
    """What is left of one caller's requests. Not written to the log of the database: a crash fills the buckets."""

    __tablename__ = "rate_bucket"
    policy: Mapped[str] = mapped_column(Text)
    caller: Mapped[str] = mapped_column(Text)
    level: Mapped[float] = mapped_column(Double)
    taken: Mapped[int] = mapped_column(Integer)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    __table_args__: Any = (PrimaryKeyConstraint("policy", "caller"), {"prefixes": ["UNLOGGED"]})


_TAKE = text("""
    INSERT INTO rate_bucket AS b (policy, caller, level, taken, at)
    SELECT :policy, :caller, quota - least(wanted, quota), least(wanted, quota), clock_timestamp()
    FROM (SELECT CAST(:wanted AS integer) AS wanted, CAST(:quota AS integer) AS quota) AS asked
    ON CONFLICT (policy, caller) DO UPDATE SET (level, taken, at) = (
        SELECT now.level - least(excluded.taken, floor(now.level)), least(excluded.taken, floor(now.level)), now.at
        FROM (SELECT least(excluded.level + excluded.taken, b.level
                  + greatest(0, extract(epoch FROM excluded.at - b.at)) * CAST(:per_second AS double precision))
                  AS level, excluded.at AS at) AS now
    )
    RETURNING level, taken
""")

Take = Callable[[str, int], tuple[int, float]]
"""(caller, requests wanted) → requests taken, and what is left in the bucket."""


def taker(engine: Engine, policy: str, quota: int, per_second: float) -> Take:
    """Takes requests out of the buckets of a policy by one statement that stands alone."""

    def take(caller: str, wanted: int) -> tuple[int, float]:
        values = {"policy": policy, "caller": caller, "wanted": wanted, "quota": quota, "per_second": per_second}
        with engine.begin() as connection:
            row = connection.execute(_TAKE, values).one()
        return row.taken, row.level

    return take


def forget_full(connection: Connection) -> None:
    """Remove the buckets that are full again."""
    connection.execute(delete(RateBucket).where(RateBucket.at < func.clock_timestamp() - FULL_AGAIN))
