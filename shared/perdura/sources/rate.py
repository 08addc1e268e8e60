"""How often a host may be asked: a token bucket as pure arithmetic, seeded by what the host itself says.

State is a value, so that it can live in one row of the registry and be shared by every worker: read the row under a
lock, decide, write the row (harvesting.md 5, 6.4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from perdura.clients.connections import Headers
from perdura.clients.http import first, retry_after

RESERVE = 5
"""Requests that are left to others when a host counts down `X-RateLimit-Remaining`."""

LONGEST = 86_400.0
"""Most seconds for which a host is believed to have no room: what says more is a mistake."""

RECOVERY = 600.0
"""Seconds after which a rate learnt from a host is forgotten again."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Tokens of one host at an instant (Unix seconds). `rate` is tokens per second, `burst` the most there can be.

    `blocked_until`: the host asked to be left alone until then. `learnt_at`: when the host last told its own limit.
    """

    rate: float
    burst: float
    tokens: float
    at: float
    blocked_until: float = 0.0
    learnt_at: float = 0.0
    own_rate: float = 0.0

    @classmethod
    def full(cls, requests_per_minute: int, burst: int, now: float) -> Bucket:
        """The bucket of a host that was never asked."""
        rate = requests_per_minute / 60
        return cls(rate=rate, burst=float(burst), tokens=float(burst), at=now, own_rate=rate)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may go now, the bucket afterwards, and otherwise in how many seconds to ask again."""

    granted: bool
    bucket: Bucket
    wait: float = 0.0


def take(bucket: Bucket, now: float) -> Decision:
    """Take one token. A clock that went back gives no tokens and takes none."""
    filled = _filled(bucket, now)
    if filled.blocked_until > now:
        return Decision(False, filled, filled.blocked_until - now)
    if filled.tokens >= 1:
        return Decision(True, replace(filled, tokens=filled.tokens - 1))
    return Decision(False, filled, (1 - filled.tokens) / filled.rate)


def learn(bucket: Bucket, status: int, headers: Headers, now: float) -> Bucket:
    """The bucket after an answer.

    `Retry-After` counts on 429 and 503 alone (some hosts send it with every 200). `X-RateLimit-Remaining` with
    `X-RateLimit-Reset` slows down when little is left; a reset in the past means no wait, one header alone nothing.
    The reset is a Unix time in seconds or, as some hosts have it, milliseconds, or a number of seconds from now.
    """
    if status in (429, 503):
        wait = retry_after(headers)
        if wait is None and status == 429:
            wait = 1 / bucket.rate
        if wait is not None:
            return replace(bucket, tokens=0.0, at=now, blocked_until=max(bucket.blocked_until, now + wait))
    remaining, reset = _number(headers, "x-ratelimit-remaining"), _number(headers, "x-ratelimit-reset")
    if remaining is None or reset is None:
        return bucket
    if reset > 100_000_000_000:
        reset /= 1000
    seconds = min(reset - now if reset > 1_000_000_000 else reset, LONGEST)
    if seconds <= 0:
        return bucket
    allowed = max(0.0, remaining - RESERVE)
    learnt = replace(bucket, rate=min(bucket.own_rate, max(allowed, 1.0) / seconds), learnt_at=now)
    if allowed == 0:
        return replace(learnt, tokens=0.0, at=now, blocked_until=max(bucket.blocked_until, now + seconds))
    return replace(learnt, tokens=min(learnt.tokens, allowed))


def _filled(bucket: Bucket, now: float) -> Bucket:
    rate = bucket.rate if now - bucket.learnt_at < RECOVERY else bucket.own_rate
    elapsed = max(0.0, now - bucket.at)
    return replace(bucket, rate=rate, tokens=min(bucket.burst, bucket.tokens + elapsed * rate), at=max(bucket.at, now))


def _number(headers: Headers, name: str) -> float | None:
    text = (first(headers, name) or "").strip()
    return float(text) if text.isdecimal() and len(text) < 16 else None
