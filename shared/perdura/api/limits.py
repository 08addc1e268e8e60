"""Rate limits: a bucket of requests per caller, refilled all the time, told in headers.

After draft-ietf-httpapi-ratelimit-headers-10. The buckets are those of one process: with more processes more gets
through, in proportion. That protects each of them, and costs no statement.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from perdura.accounts.principals import Principal
from perdura.api.problems import Problem
from perdura.settings import Settings

WINDOW_SECONDS = 60
BUCKETS = 20_000
"""Callers remembered at most; the one not seen for the longest is forgotten, whose bucket is the fullest."""


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


class Limiter:
    """Buckets of `quota` requests, each refilled within a minute. Safe to use from several threads."""

    def __init__(self, policy: str, quota: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._policy, self._quota, self._clock = policy, quota, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, caller: str) -> Allowance | None:
        """Take one request out of the caller's bucket; None without a limit. `wait` is 0 unless it was empty."""
        if self._quota == 0:
            return None
        per_second = self._quota / WINDOW_SECONDS
        with self._lock:
            now = self._clock()
            level, at = self._buckets.pop(caller, (float(self._quota), now))
            level = min(float(self._quota), level + (now - at) * per_second)
            allowed = level >= 1
            level -= 1 if allowed else 0
            self._buckets[caller] = (level, now)
            if len(self._buckets) > BUCKETS:
                self._buckets.popitem(last=False)
        return Allowance(
            self._policy,
            self._quota,
            math.floor(level),
            math.ceil((self._quota - level) / per_second),
            0 if allowed else max(1, math.ceil((1 - level) / per_second)),
        )


@cache
def _limiter(policy: str, quota: int) -> Limiter:
    return Limiter(policy, quota)


def spend(principal: Principal, address: str | None, settings: Settings) -> Mapping[str, str]:
    """Count a request of a caller whom we know, or of a stranger's address; the headers to send.

    Raises a 429 when there is nothing left.
    """
    if principal.account is None:
        allowance = _limiter("strangers", settings.rate_limit_strangers).spend(address or "")
    else:
        allowance = _limiter("callers", settings.rate_limit).spend(str(principal.account))
    if allowance is None:
        return {}
    if allowance.wait:
        headers = {**allowance.headers, "Retry-After": str(allowance.wait)}
        raise Problem(429, f"Too many requests. Go on in {allowance.wait} s.", "too-many-requests", headers=headers)
    return allowance.headers
