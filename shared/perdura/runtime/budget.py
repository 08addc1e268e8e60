"""The rate budget of a source for one invocation: tokens and connections that all instances share (harvesting.md 6.4).

Tokens are taken from the registry a few at a time, so that a request seldom costs a statement. A short wait is waited
for: that is pace; a long one gives the work back to the broker with its delay.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import Engine

from perdura.clients.connections import Headers
from perdura.clients.http import first
from perdura.errors import UpstreamUnavailable
from perdura.ids import new_id
from perdura.registry import host_budgets
from perdura.sources import rate
from perdura.sources.profile import Profile

PACE_SECONDS = 2.0
"""The longest wait that is slept through."""

SLOT_SECONDS = 3.0
"""How long to wait for a first connection to a host whose connections are all in use elsewhere."""

HANDFUL = 20
"""Most tokens taken at once."""

LEARN_SECONDS = 5.0
"""How often the rate headers of answers that went well are noted."""


@dataclass
class _Host:
    """What this invocation holds of a host."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    tokens: int = 0
    taken_at: float = 0.0
    held: int = 0
    in_use: int = 0
    learnt_at: float = 0.0


class RegistryBudget:
    """A `Budget` for the hosts of one source. Threads of one invocation share it; close it at the end."""

    def __init__(self, engine: Engine, profile: Profile, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._engine = engine
        self._rate = profile.requests_per_minute / 60
        self._burst = float(profile.burst)
        self._concurrency = profile.concurrency
        self._sleep = sleep
        self._holder = new_id()
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()

    def take(self, host: str) -> None:
        """Take one request and one connection; raises UpstreamUnavailable with `retry_after` when none is left."""
        held = self._host(host)
        with held.changed:
            self._take_slot(host, held)
            try:
                self._take_token(host, held)
            except BaseException:
                self._free(held)
                raise

    def give(self, host: str) -> None:
        """Give the connection back to this invocation's other threads."""
        held = self._host(host)
        with held.changed:
            self._free(held)

    def learn(self, host: str, status: int, headers: Headers) -> None:
        """Note what an answer says of the host's limits, for all instances."""
        limited = status in (429, 503)
        if not limited and first(headers, "x-ratelimit-remaining") is None:
            return
        held = self._host(host)
        with held.changed:
            if not limited and time.monotonic() - held.learnt_at < LEARN_SECONDS:
                return
            held.learnt_at = time.monotonic()
            held.tokens = 0 if limited else held.tokens
            self._change(host, lambda bucket, now: rate.learn(bucket, status, headers, now))

    def close(self) -> None:
        """Give back connections and tokens that were not used."""
        for host, held in self._hosts.items():
            unused, held.tokens = held.tokens, 0
            if unused:
                self._change(host, lambda bucket, _, n=unused: replace(bucket, tokens=bucket.tokens + n))  # type: ignore[misc]
        if any(held.held for held in self._hosts.values()):
            with self._engine.begin() as connection:
                host_budgets.give_back(connection, self._holder)

    def _host(self, host: str) -> _Host:
        with self._lock:
            return self._hosts.setdefault(host, _Host())

    @staticmethod
    def _free(held: _Host) -> None:
        held.in_use -= 1
        held.changed.notify()

    def _take_slot(self, host: str, held: _Host) -> None:
        waited = 0.0
        while held.in_use >= held.held:
            if held.held < self._concurrency and self._lease(host):
                held.held += 1
                break
            if held.held:
                if not held.changed.wait(60):
                    raise UpstreamUnavailable(f"No connection to {host} became free.", retry_after=_jittered(10))
            elif waited >= SLOT_SECONDS:
                raise UpstreamUnavailable(f"All connections to {host} are in use.", retry_after=_jittered(5))
            else:
                pause = _jittered(0.2)
                self._sleep(pause)
                waited += pause
        held.in_use += 1

    def _lease(self, host: str) -> bool:
        with self._engine.begin() as connection:
            return host_budgets.lease(connection, host, self._concurrency, self._holder) is not None

    def _take_token(self, host: str, held: _Host) -> None:
        fresh = time.monotonic() - held.taken_at < PACE_SECONDS
        while not (fresh and held.tokens):
            wait = self._fetch(host, held)
            if wait > PACE_SECONDS:
                raise UpstreamUnavailable(f"{host} asked to be left alone.", retry_after=wait + _jittered(1))
            if wait:
                self._sleep(wait)
            fresh = True
        held.tokens -= 1

    def _fetch(self, host: str, held: _Host) -> float:
        """Take a handful of tokens, or say in how many seconds there may be one."""
        wanted = max(1, min(HANDFUL, int(self._rate)))
        wait = 0.0

        def decide(bucket: rate.Bucket, now: float) -> rate.Bucket:
            nonlocal wait
            for _ in range(wanted):
                decision = rate.take(bucket, now)
                bucket = decision.bucket
                if not decision.granted:
                    wait = decision.wait
                    break
                held.tokens += 1
            return bucket

        self._change(host, decide)
        held.taken_at = time.monotonic()
        return 0.0 if held.tokens else wait

    def _change(self, host: str, decide: Callable[[rate.Bucket, float], rate.Bucket]) -> None:
        def changed(values: host_budgets.Values, now: float) -> host_budgets.Values:
            return asdict(decide(rate.Bucket(**values), now))

        with self._engine.begin() as connection:
            host_budgets.change(connection, host, self._rate, self._burst, changed)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret


@contextmanager
def registry_budget(engine: Engine, profile: Profile) -> Iterator[RegistryBudget]:
    """A budget for as long as the context lasts."""
    budget = RegistryBudget(engine, profile)
    try:
        yield budget
    finally:
        budget.close()
