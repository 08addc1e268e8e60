"""Rate limits: a bucket of requests per caller, refilled all the time, told in headers.

After draft-ietf-httpapi-ratelimit-headers-10. The buckets are in the database, so that all processes together let
through what one would. A process takes a share of a bucket at a time and spends it by itself: a busy caller costs one
statement in many requests, and one whose bucket is empty costs none until it can go on.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from perdura.accounts.principals import Principal
from perdura.accounts.rate_buckets import Take, taker
from perdura.api.problems import Problem
from perdura.api.services import Services
from perdura.database import passing, standing_alone

WINDOW_SECONDS = 60
SHARES = 20
"""Parts of a bucket that are taken out of it at a time."""

CALLERS = 20_000
"""Callers whose shares are remembered at most; what is forgotten of a share is lost to its caller."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left: `remaining` requests, `refill` seconds until all are there again, `wait` for the next."""

    policy: str
    quota: int
    remaining: int
    refill: int
    wait: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that tell it."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.refill}',
        }


@dataclass(slots=True)
class _Share:
    """`left` requests that this process has taken out of a bucket with `level` more in it, at `at`.

    Until `empty_until` there is nothing to be taken.
    """

    left: int
    level: float
    at: float
    empty_until: float = 0.0


class Limiter:
    """Buckets of `quota` requests, each refilled within a minute. Safe to use from several threads."""

    def __init__(self, policy: str, quota: int, take: Take, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._quota, self._take, self._clock = policy, quota, take, clock
        self._per_second = quota / WINDOW_SECONDS
        self._at_once = max(1, quota // SHARES)
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, caller: str) -> Allowance:
        """Take one request out of the caller's bucket; `wait` is 0 unless it was empty."""
        with self._lock:
            share, now = self._shares.get(caller), self._clock()
            if share is not None and now < share.empty_until:
                return self._allowance(share, share.empty_until - now)
            if share is not None and share.left and now < share.at + WINDOW_SECONDS:
                share.left -= 1
                return self._allowance(share, 0)
        taken, level = self._take(caller, self._at_once)
        with self._lock:
            now = self._clock()
            before = self._shares.pop(caller, None)
            left = taken + (before.left if before is not None and now < before.at + WINDOW_SECONDS else 0)
            wait = 0.0 if left else (1 - level) / self._per_second
            share = self._shares[caller] = _Share(max(0, left - 1), level, now, now + wait)
            if len(self._shares) > CALLERS:
                self._shares.popitem(last=False)
            return self._allowance(share, wait)

    def _allowance(self, share: _Share, wait: float) -> Allowance:
        remaining = share.left + math.floor(share.level)
        refill = math.ceil((self._quota - share.left - share.level) / self._per_second)
        return Allowance(self._policy, self._quota, remaining, refill, max(1, math.ceil(wait)) if wait else 0)


@cache
def _limiter(engine: Engine, policy: str, quota: int) -> Limiter:
    return Limiter(policy, quota, taker(engine, policy, quota, quota / WINDOW_SECONDS))


def spend(principal: Principal, address: str | None, services: Services) -> Mapping[str, str]:
    """Count a request of a caller whom we know, or of a stranger's address; the headers to send.

    Raises a 429 when there is nothing left. Without a database nothing is counted: nothing can be answered either.
    """
    settings = services.settings
    stranger = principal.account is None
    quota = settings.rate_limit_strangers if stranger else settings.rate_limit
    if quota == 0:
        return {}
    limiter = _limiter(standing_alone(services.engine, settings), "strangers" if stranger else "callers", quota)
    try:
        allowance = limiter.spend(address or "" if stranger else str(principal.account))
    except SQLAlchemyError as error:
        if passing(error):
            return {}
        raise
    if allowance.wait:
        headers = {**allowance.headers, "Retry-After": str(allowance.wait)}
        raise Problem(429, f"Too many requests. Go on in {allowance.wait} s.", "too-many-requests", headers=headers)
    return allowance.headers
