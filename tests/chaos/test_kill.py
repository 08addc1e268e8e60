"""Functions killed with SIGKILL at every point, every CloudEvent delivered again and at once, engines killed.

Whatever dies, in the end there is exactly one AIP, one tape copy, one publication and one set of PREMIS events.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from perdura.cloudevents.build import from_json
from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.runtime.faults import LOOK_POINTS, POINTS
from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.chaos, pytest.mark.stack, pytest.mark.timeout(300)]

STEPS = ("harvest", "ingest", "preserve", "archive-cta", "publish")
DEATHS = [*((point, "KILL") for point in POINTS), ("before-effect", "TERM"), ("after-effect", "TERM")]
RELAY_POINTS = {"before-effect", "after-effect", "after-commit"}
RECORD = "/records/3kf7w-x2p61"
Undisturbed = dict[str, Counter[str]]


def arm(faults: Path, function: str, point: str, how: str = "KILL") -> None:
    """Have the function die once when it next reaches the point; with `TERM` it is told to end instead."""
    (faults / f"{function}.{point}").write_text(how)


def killed(stack: Stack, faults: Path, function: str, point: str) -> None:
    """Wait until it has died there; that it has is forgotten again."""
    fired = faults / f"{function}.{point}.fired"
    stack.until(lambda: fired.exists() or None, 90, lambda: "never killed")
    fired.unlink()


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def stack(faults: Path) -> Iterator[Stack]:
    with running_stack({"PERDURA_FAULTS": str(faults), "PERDURA_VIRUS_SCAN": "preferred"}) as stack:
        yield stack


def begin(stack: Stack, function: str, name: str) -> str:
    """One Archive whose pipeline goes through `function`."""
    if function == "harvest":
        answer = stack.api.post("/harvests", json={"url": stack.urls["upstream"] + RECORD})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["archive"])
    return stack.deposit(bag_tar({"a.txt": name.encode()}))


@pytest.fixture(scope="module")
def undisturbed(stack: Stack) -> Undisturbed:
    """How often each type of PREMIS event is recorded of an Archive that nothing happens to, by its origin."""
    return {name: recorded(stack, done(stack, begin(stack, name, "undisturbed"))) for name in ("harvest", "ingest")}


def done(stack: Stack, archive: str) -> str:
    stack.finished(archive)
    return archive


def recorded(stack: Stack, archive: str) -> Counter[str]:
    """The types of an Archive's PREMIS events, but for two that tell of each try.

    Those are deliveries that the broker gave up, and bytes that the gateway handed to FTS, which may ask again.
    """
    items = stack.api.get(f"/archives/{archive}/events").json()["items"]
    assert len({event["id"] for event in items}) == len(items)
    kinds = Counter(event["type"].rpartition("/")[2] for event in items)
    del kinds["message delivery"], kinds["transfer"]
    return kinds


def on_tape(stack: Stack, archive: str) -> list[str]:
    """The Archive's files that the tape library itself says are on a tape."""
    with closing(sqlite3.connect(stack.home / "data/tape/library/catalogue.sqlite", timeout=30)) as catalogue:
        files = catalogue.execute("SELECT path FROM entry WHERE volume IS NOT NULL AND directory = 0").fetchall()
    return [path for (path,) in files if archive in path]


def assert_everything_once(stack: Stack, archive: str, undisturbed: Undisturbed) -> None:
    """One of each, however often it was tried: in the registry, in the log, in the store and on tape."""
    done = stack.finished(archive)
    assert done["state"] in {"completed", "completed_with_warnings"}, stack.steps(archive)
    counts = {
        "aip": "SELECT count(*) FROM package WHERE archive_id = :a AND kind = 'AIP'",
        "tape": """SELECT count(*) FROM copy JOIN package ON package.id = package_id
                   WHERE archive_id = :a AND location = 'tape'""",
        "publication": "SELECT count(*) FROM publication WHERE archive_id = :a",
        "steps": """SELECT count(*) - count(DISTINCT name) + 1 FROM step WHERE archive_id = :a
                    AND state IN ('completed', 'completed_with_warnings')""",
    }
    assert {name: stack.scalar(query, a=archive) for name, query in counts.items()} == dict.fromkeys(counts, 1)
    held = [key for key in stack.objects("perdura-aips") if archive in key and key.endswith(".tar")]
    taped = on_tape(stack, archive)
    assert (len(held), len(taped)) == (1, 1), (held, taped)
    origin = "harvest" if done["origin"] == "harvest" else "ingest"
    assert recorded(stack, archive) == undisturbed[origin]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("function", STEPS)
def test_a_function_killed_anywhere_is_done_once_in_the_end(
    stack: Stack, undisturbed: Undisturbed, faults: Path, function: str, point: str
) -> None:
    arm(faults, function, point)
    archive = begin(stack, function, f"{function} {point}")
    assert_everything_once(stack, archive, undisturbed)
    # The last step's answer is known before its worker reaches the points behind it.
    killed(stack, faults, function, point)


@pytest.mark.parametrize("point", ["before-effect", "after-effect"])
@pytest.mark.parametrize("function", STEPS)
def test_a_function_told_to_end_in_the_middle_of_its_step_loses_nothing(
    stack: Stack, undisturbed: Undisturbed, faults: Path, function: str, point: str
) -> None:
    arm(faults, function, point, "TERM")
    archive = begin(stack, function, f"SIGTERM {function} {point}")
    assert_everything_once(stack, archive, undisturbed)
    killed(stack, faults, function, point)


@pytest.mark.parametrize(("point", "how"), DEATHS)
def test_the_registry_killed_anywhere_does_once_what_it_is_asked_again(
    stack: Stack, undisturbed: Undisturbed, faults: Path, point: str, how: str
) -> None:
    arm(faults, "registry", point, how)
    key = {"Idempotency-Key": str(uuid4())}

    def ask() -> str | None:
        try:
            answer = stack.api.post("/harvests", json={"url": stack.urls["upstream"] + RECORD}, headers=key)
        except httpx.TransportError:
            return None
        return str(answer.json()["archive"]) if answer.status_code == 202 else None

    before = stack.scalar("SELECT count(*) FROM archive")
    archive = stack.until(ask, 30)
    assert_everything_once(stack, archive, undisturbed)
    killed(stack, faults, "registry", point)
    assert ask() == archive
    assert stack.scalar("SELECT count(*) FROM archive") == before + 1


@pytest.mark.parametrize(("point", "how"), DEATHS)
def test_the_log_killed_anywhere_records_what_it_was_sent_once(
    stack: Stack, faults: Path, point: str, how: str
) -> None:
    arm(faults, "premis-log", point, how)
    name = str(uuid4())
    event = CloudEvent(
        id=name,
        source="/tests",
        type="org.perdura.premis.record.requested.v1",
        data={"events": [{"type": "fixity check", "date": "2026-01-01", "objects": [{"type": "UUID", "value": name}]}]},
    )
    headers, body = encode_binary(event)
    httpx.post(f"{stack.urls['broker']}/perdura/default", headers=headers, content=body, timeout=60).raise_for_status()
    killed(stack, faults, "premis-log", point)
    count = "SELECT count(*) FROM premis_object WHERE object = :name"
    stack.until(lambda: stack.scalar(count, name=name) or None, 60, lambda: "never recorded")
    assert stack.scalar(count, name=name) == 1


@pytest.mark.parametrize("point", LOOK_POINTS)
@pytest.mark.parametrize("how", ["KILL", "TERM"])
def test_a_function_killed_while_it_looks_at_waiting_steps_is_done_once_in_the_end(
    stack: Stack, undisturbed: Undisturbed, faults: Path, point: str, how: str
) -> None:
    stack.api.post("/tape/pause", json={"reason": "a look is to be killed"}).raise_for_status()
    archive = begin(stack, "archive-cta", f"look {point} {how}")
    waiting = lambda: any(step["state"] == "waiting" for step in stack.steps(archive)) or None  # noqa: E731
    stack.until(waiting, 60, lambda: str(stack.steps(archive)))
    arm(faults, "archive-cta", point, how)
    stack.api.post("/tape/resume").raise_for_status()
    killed(stack, faults, "archive-cta", point)
    # Whoever is killed keeps others from looking for ten minutes: they are over.
    with stack.database.begin() as connection:
        over = "UPDATE step SET held_until = NULL WHERE archive_id = :a AND state = 'waiting'"
        connection.execute(text(over), {"a": archive})
    assert_everything_once(stack, archive, undisturbed)


@pytest.mark.parametrize(("point", "how"), [death for death in DEATHS if death[0] in RELAY_POINTS])
def test_the_relay_killed_between_broker_and_outbox_loses_and_doubles_nothing(
    stack: Stack, undisturbed: Undisturbed, faults: Path, point: str, how: str
) -> None:
    # What ingest leaves unsent is the relay's to send; behind its commit it shares the other functions' emitter.
    arm(faults, "ingest", "after-commit")
    arm(faults, "relay", point, how)
    archive = begin(stack, "ingest", f"relay {point} {how}")
    assert_everything_once(stack, archive, undisturbed)
    killed(stack, faults, "relay", point)


def test_every_cloudevent_delivered_twice_and_at_once(stack: Stack, undisturbed: Undisturbed) -> None:
    stop, seen = threading.Event(), set[str]()
    sink = f"{stack.urls['broker']}/perdura/default"

    def repeat() -> None:
        # The client is closed when the last request of the pool has ended, not beneath it.
        with httpx.Client() as client, ThreadPoolExecutor(8) as pool:
            while not stop.wait(0.02):
                with stack.database.connect() as connection:
                    rows = connection.execute(text("SELECT id, event FROM outbox ORDER BY sequence")).all()
                for row in rows:
                    if str(row.id) not in seen:
                        seen.add(str(row.id))
                        headers, body = encode_binary(from_json(row.event))
                        for _ in range(2):
                            pool.submit(client.post, sink, headers=headers, content=body)

    repeating = threading.Thread(target=repeat)
    repeating.start()
    try:
        archives = [stack.deposit(bag_tar({"a.txt": f"twice {n}".encode()})) for n in range(4)]
        for archive in archives:
            assert_everything_once(stack, archive, undisturbed)
    finally:
        stop.set()
        repeating.join()
    assert seen


@pytest.mark.parametrize("engine", ["broker", "postgres", "seaweedfs"])
def test_an_engine_killed_in_mid_work_loses_nothing(stack: Stack, undisturbed: Undisturbed, engine: str) -> None:
    bags = [bag_tar({"a.txt": os.urandom(150_000).hex().encode()}) for _ in range(4)]
    archives = [stack.deposit(bag) for bag in bags]
    os.kill(stack.pid(engine), signal.SIGKILL)
    for archive in archives:
        stack.finished(archive, timeout=200)
        assert_everything_once(stack, archive, undisturbed)
