"""Long disorder: many deposits while everything is killed at random; a day of late, doubled, shuffled deliveries.

`make chaos-long`. `PERDURA_CHAOS_DEPOSITS` says how many deposits, `PERDURA_CHAOS_SEED` which random numbers.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from perdura.cloudevents.build import from_json
from perdura.cloudevents.codec import encode_binary
from perdura.local.state import open_home
from perdura.local.status import read_status
from tests.stack import Stack, bag_tar, running_stack

DEPOSITS = int(os.environ.get("PERDURA_CHAOS_DEPOSITS", "1000"))
SEED = int(os.environ.get("PERDURA_CHAOS_SEED", "20261128"))
SECONDS = 120 + DEPOSITS * 2

pytestmark = [pytest.mark.long, pytest.mark.stack, pytest.mark.timeout(SECONDS + 600)]

FUNCTIONS = ("registry", "ingest", "preserve", "archive-cta", "publish", "premis-log", "relay", "aip-gateway")
ENGINES = ("broker", "postgres", "seaweedfs")
TRIES = frozenset({"message delivery", "transfer"})
"""Events that tell of each try (see test_kill)."""

_OFTEN = """
    SELECT archive.id,
        (SELECT count(*) FROM package WHERE archive_id = archive.id AND kind = 'AIP') AS aips,
        (SELECT count(*) FROM copy JOIN package ON package.id = package_id
         WHERE archive_id = archive.id AND location = 'tape') AS taped,
        (SELECT count(*) FROM publication WHERE archive_id = archive.id) AS published,
        (SELECT count(*) FROM step WHERE archive_id = archive.id AND state LIKE 'completed%') AS steps
    FROM archive
"""
_EVENTS = """
    SELECT o.object, k.type, count(*) AS n FROM premis_object o JOIN premis_kind k ON k.id = o.kind_id
    WHERE o.object IN (SELECT id::text FROM archive) GROUP BY 1, 2
"""
_OPEN = "SELECT count(*) FROM archive WHERE state NOT IN ('completed', 'completed_with_warnings')"
_HOUR = (
    "UPDATE inbox SET finished_at = finished_at - interval '1 hour'",
    "UPDATE outbox SET created_at = created_at - interval '1 hour', next_at = next_at - interval '1 hour', "
    "delivered_at = delivered_at - interval '1 hour'",
    "UPDATE step SET created_at = created_at - interval '1 hour', updated_at = updated_at - interval '1 hour', "
    "poll_at = poll_at - interval '1 hour'",
    "UPDATE heartbeat SET done_at = done_at - interval '1 hour'",
)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with running_stack({"PERDURA_VIRUS_SCAN": "off"}) as stack:
        assert stack.urls
        assert stack.token
        yield stack


def hand_in(stack: Stack, content: bytes) -> None:
    """Deposit as a client does that tries again until it is answered: the same key, the same deposit."""
    key = {"Idempotency-Key": str(uuid4())}

    def until(ask: Callable[[], httpx.Response]) -> httpx.Response:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            with suppress(httpx.TransportError):
                answer = ask()
                if answer.is_success:
                    return answer
                assert answer.status_code >= 409, answer.text
            time.sleep(0.3)
        raise AssertionError("never answered")

    body = {"filename": "bag.tar", "size": len(content)}
    made = until(lambda: stack.api.post("/deposits", json=body, headers=key)).json()
    headers = made["upload"].get("headers") or {}
    until(lambda: httpx.put(made["upload"]["url"], content=content, headers=headers, timeout=20))
    until(lambda: stack.api.post(f"/deposits/{made['id']}/complete"))


def assert_each_once(stack: Stack, expected: int) -> None:
    """Each Archive has one AIP, copy on tape, publication and set of events; each bag is one Archive."""
    with stack.database.connect() as connection:
        rows = connection.execute(text(_OFTEN)).all()
        events: dict[str, Counter[str]] = {}
        for row in connection.execute(text(_EVENTS)):
            if row.type.rpartition("/")[2] not in TRIES:
                events.setdefault(row.object, Counter())[row.type] += row.n
    assert len(rows) == expected
    wrong = [tuple(row) for row in rows if tuple(row)[1:] != (1, 1, 1, 4)]
    assert not wrong, wrong[:5]
    kinds = Counter(tuple(sorted(counter.items())) for counter in events.values())
    assert len(kinds) == 1, kinds
    assert sum(kinds.values()) == expected
    held = Counter(key.partition("/")[0] for key in stack.objects("perdura-aips") if key.endswith(".tar"))
    assert held == Counter({str(row[0]): 1 for row in rows})
    with closing(sqlite3.connect(stack.home / "data/tape/library/catalogue.sqlite", timeout=30)) as catalogue:
        taped = catalogue.execute("SELECT path FROM entry WHERE volume IS NOT NULL AND directory = 0").fetchall()
    assert len(taped) == len(set(taped)) == expected
    sealed = "SELECT count(*) = 0 FROM premis_unsealed"
    stack.until(lambda: stack.scalar(sealed) or None, 120)
    verified = stack.command("log", "verify", timeout=300)
    assert verified.returncode == 0, verified.stderr[-2000:]
    print(verified.stdout.strip())


def completed(stack: Stack, expected: int, seconds: float) -> None:
    """Wait until every Archive is there and done."""

    def look() -> bool | None:
        with suppress(SQLAlchemyError):
            done = stack.scalar("SELECT count(*) FROM archive") >= expected and stack.scalar(_OPEN) == 0
            return done or None
        return None

    def explain() -> str:
        with stack.database.connect() as connection:
            rows = connection.execute(
                text("""SELECT archive_id, name, state, attempt, deliveries, error_code, error_message FROM step
                        WHERE state NOT LIKE 'completed%' LIMIT 20""")
            )
            return "\n".join(str(tuple(row)) for row in rows)

    stack.until(look, seconds, explain, 1)


def test_deposits_are_each_done_once_while_everything_is_killed_at_random(stack: Stack) -> None:
    chance, stop = random.Random(SEED), threading.Event()
    killed: Counter[str] = Counter()

    def kill() -> None:
        home = open_home(stack.home)
        while not stop.wait(chance.uniform(1, 4)):
            name = chance.choice((*FUNCTIONS, *ENGINES))
            pid = next((each.pid for each in read_status(home).processes if each.name == name), None)
            if pid:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed[name] += 1

    begun = time.monotonic()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ThreadPoolExecutor(6) as pool:
            bags = pool.map(lambda n: bag_tar({"a.txt": f"deposit {n} of {SEED}".encode()}), range(DEPOSITS))
            list(pool.map(lambda bag: hand_in(stack, bag), bags))
    finally:
        stop.set()
        killer.join()
    completed(stack, DEPOSITS, SECONDS)
    took = time.monotonic() - begun
    print(f"{DEPOSITS} deposits in {took:.0f} s; killed {sum(killed.values())}: {dict(killed)}")
    assert_each_once(stack, DEPOSITS)


def test_a_day_of_late_doubled_and_shuffled_deliveries_changes_nothing(stack: Stack) -> None:
    chance = random.Random(SEED)
    sink = f"{stack.urls['broker']}/perdura/default"
    sent, expected = 0, 0
    with ThreadPoolExecutor(8) as pool, httpx.Client(timeout=60) as client:
        for hour in range(24):
            for n in range(2):
                hand_in(stack, bag_tar({"a.txt": f"hour {hour}, {n}".encode()}))
                expected += 1
            with stack.database.connect() as connection:
                known = [row.event for row in connection.execute(text("SELECT event FROM outbox"))]
            late = chance.choices(known, k=min(len(known), 150))
            for event in late:
                headers, body = encode_binary(from_json(event))
                for _ in range(chance.choice((1, 1, 2, 3))):
                    pool.submit(client.post, sink, headers=headers, content=body)
                    sent += 1
            with stack.database.begin() as connection:
                for statement in _HOUR:
                    connection.execute(text(statement))
        pool.shutdown(wait=True)
        completed(stack, expected, 300)
    print(f"{expected} deposits in 24 hours of the database's time; {sent} deliveries late, doubled or out of order")
    assert_each_once(stack, expected)
