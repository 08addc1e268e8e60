"""The token bucket of a host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.sources.rate import RECOVERY, Bucket, learn, take

NOW = 1_795_000_000.0


def full(rate: int = 60, burst: int = 2) -> Bucket:
    return Bucket.full(rate, burst, NOW)


def test_a_burst_then_the_rate() -> None:
    first = take(full(), NOW)
    second = take(first.bucket, NOW)
    third = take(second.bucket, NOW)
    assert (first.granted, second.granted, third.granted) == (True, True, False)
    assert third.wait == pytest.approx(1.0)
    assert take(third.bucket, NOW + 1).granted


def test_a_clock_that_goes_back_gives_nothing() -> None:
    empty = take(take(full(), NOW).bucket, NOW).bucket
    assert not take(empty, NOW - 3600).granted


@pytest.mark.parametrize(("status", "blocked"), [(429, True), (503, True), (200, False), (500, False)])
def test_retry_after_counts_where_it_means_something(status: int, blocked: bool) -> None:
    bucket = learn(full(), status, (("retry-after", "59"),), NOW)
    decision = take(bucket, NOW + 1)
    assert decision.granted is not blocked
    if blocked:
        assert decision.wait == pytest.approx(58)
        assert not take(bucket, NOW + 59).granted or bucket.rate >= 1
        assert take(bucket, NOW + 61).granted


@pytest.mark.parametrize(
    ("headers", "granted"),
    [
        ({"x-ratelimit-remaining": "132", "x-ratelimit-reset": str(int(NOW) + 60)}, True),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 60)}, False),
        ({"x-ratelimit-remaining": "4", "x-ratelimit-reset": str(int(NOW) + 60)}, False),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 60)}, True),
        ({"x-ratelimit-remaining": "0"}, True),
        ({"x-ratelimit-reset": str(int(NOW) + 60)}, True),
        ({"x-ratelimit-remaining": "x", "x-ratelimit-reset": "y"}, True),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, False),
    ],
)
def test_rate_headers(headers: dict[str, str], granted: bool) -> None:
    assert take(learn(full(), 200, tuple(headers.items()), NOW), NOW).granted is granted


@pytest.mark.parametrize(("reset", "seconds"), [(f"{int(NOW) + 60}000", 60), ("999999999999999", 86_400)])
def test_no_host_is_left_alone_for_ages(reset: str, seconds: float) -> None:
    told = (("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", reset))
    assert learn(full(), 200, told, NOW).blocked_until == pytest.approx(NOW + seconds)


def test_a_learnt_rate_is_forgotten_again() -> None:
    headers = (("x-ratelimit-remaining", "6"), ("x-ratelimit-reset", str(int(NOW) + 100)))
    slow = learn(full(), 200, headers, NOW)
    assert slow.rate == pytest.approx(0.01)
    assert take(slow, NOW + RECOVERY + 1).bucket.rate == pytest.approx(1)


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=60))
def test_never_more_than_burst_and_rate(steps: list[float]) -> None:
    bucket, now, granted = full(), NOW, 0
    for step in steps:
        now += step
        decision = take(bucket, now)
        bucket = decision.bucket
        granted += decision.granted
        assert decision.granted or decision.wait > 0
    assert granted <= 2 + (now - NOW) * 1 + 1e-3
