"""What hosts allow, shared by all instances through the registry (harvesting.md 6.4)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from perdura.clients.http import HttpClient
from perdura.clients.reach import Reach
from perdura.errors import UpstreamUnavailable
from perdura.runtime.budget import RegistryBudget, registry_budget
from perdura.sources.profile import Profile
from tests.upstreams.server import Reply, serving

pytestmark = pytest.mark.stack

HOST = "repository.example.org"


def profile(**values: int) -> Profile:
    limits = {"requests_per_minute": 6000, "burst": 100, "concurrency": 4, **values}
    return Profile(id="demo", name="Demo", protocol="inveniordm", **limits)


@pytest.fixture
def budget(database: Engine) -> Callable[..., RegistryBudget]:
    return lambda **values: RegistryBudget(database, profile(**values), sleep=lambda _: None)


def taken(budget: RegistryBudget, most: int) -> int:
    """How many requests go through, one after the other."""
    for number in range(most):
        try:
            budget.take(HOST)
        except UpstreamUnavailable:
            return number
        budget.give(HOST)
    return most


def test_instances_share_one_bucket(budget: Callable[..., RegistryBudget]) -> None:
    first, second = (budget(requests_per_minute=1, burst=10) for _ in range(2))
    assert taken(first, 6) == 6
    assert taken(second, 10) == 4
    with pytest.raises(UpstreamUnavailable) as caught:
        first.take(HOST)
    assert caught.value.retry_after is not None
    assert 30 < caught.value.retry_after < 65


def test_hosts_have_buckets_of_their_own(budget: Callable[..., RegistryBudget]) -> None:
    one = budget(requests_per_minute=1, burst=1)
    assert taken(one, 5) == 1
    one.take("other.example.org")


def test_a_host_that_asks_for_rest_is_left_alone_by_everybody(budget: Callable[..., RegistryBudget]) -> None:
    first, second = budget(), budget()
    assert taken(first, 3) == 3
    first.learn(HOST, 429, (("retry-after", "40"),))
    for each in (first, second):
        with pytest.raises(UpstreamUnavailable) as caught:
            each.take(HOST)
        assert caught.value.retry_after is not None
        assert 35 < caught.value.retry_after < 45


def test_rate_headers_slow_everybody_down(budget: Callable[..., RegistryBudget], database: Engine) -> None:
    first = budget()
    assert taken(first, 1) == 1
    first.learn(HOST, 200, (("x-ratelimit-remaining", "65"), ("x-ratelimit-reset", "60")))
    with database.connect() as connection:
        assert connection.execute(text("SELECT rate, tokens FROM host_budget")).one() == (1.0, 60.0)
    first.learn(HOST, 200, (("x-ratelimit-remaining", "5"), ("x-ratelimit-reset", "60")))
    with database.connect() as connection:
        assert connection.execute(text("SELECT rate FROM host_budget")).scalar_one() == 1.0


def test_tokens_that_were_not_used_are_given_back(budget: Callable[..., RegistryBudget], database: Engine) -> None:
    one = budget(requests_per_minute=600, burst=10)
    assert taken(one, 1) == 1
    with database.connect() as connection:
        assert connection.execute(text("SELECT tokens FROM host_budget")).scalar_one() == 0
    one.close()
    with database.connect() as connection:
        assert connection.execute(text("SELECT tokens FROM host_budget")).scalar_one() == 9


def test_connections_are_limited_over_all_instances(database: Engine) -> None:
    lock, now, highest = threading.Lock(), [0], [0]

    def work(_: int) -> None:
        with registry_budget(database, profile(concurrency=2)) as own:
            for _ in range(3):
                while True:
                    try:
                        own.take(HOST)
                        break
                    except UpstreamUnavailable:
                        continue
                with lock:
                    now[0] += 1
                    highest[0] = max(highest[0], now[0])
                time.sleep(0.01)
                with lock:
                    now[0] -= 1
                own.give(HOST)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert highest[0] == 2
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM host_lease")).scalar_one() == 0


def test_an_instance_that_died_gives_its_connections_back_in_the_end(
    budget: Callable[..., RegistryBudget], database: Engine
) -> None:
    dead, other = budget(concurrency=1), budget(concurrency=1)
    dead.take(HOST)
    with pytest.raises(UpstreamUnavailable):
        other.take(HOST)
    with database.begin() as connection:
        connection.execute(text("UPDATE host_lease SET expires_at = clock_timestamp()"))
    other.take(HOST)


def test_every_answer_gives_its_connection_back(database: Engine) -> None:
    with serving() as upstream:
        upstream.add("/ok", Reply(b"x"))
        upstream.add("/there", Reply(status=302, headers={"Location": "/ok"}))
        upstream.add("/broken", Reply(b"x" * 100, cut_at=10))
        with registry_budget(database, profile(concurrency=1)) as one:
            reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
            with HttpClient(reach, user_agent="tests", budget=one, sleep=lambda _: None) as client:
                for _ in range(3):
                    assert client.get(f"{upstream.base}/ok").body == b"x"
                    assert client.get(f"{upstream.base}/there").body == b"x"
                    with pytest.raises(UpstreamUnavailable):
                        client.get(f"{upstream.base}/broken")
            with HttpClient(reach, user_agent="tests", budget=one, sleep=lambda _: None) as client:
                with pytest.raises(UpstreamUnavailable):
                    client.get("http://127.0.0.1:1/nobody")
                assert client.get(f"{upstream.base}/ok").body == b"x"
