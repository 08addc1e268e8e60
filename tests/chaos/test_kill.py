"""Functions killed with SIGKILL at every point, every CloudEvent delivered again and at once, engines killed.

Whatever dies, in the end there is exactly one AIP, one tape copy, one publication and one set of PREMIS events.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from perdura.cloudevents.build import from_json
from perdura.cloudevents.codec import encode_binary
from perdura.runtime.faults import POINTS
from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.chaos, pytest.mark.stack, pytest.mark.timeout(300)]

FUNCTIONS = ("harvest", "ingest", "preserve", "archive-cta", "publish")
RECORD = "/records/3kf7w-x2p61"


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


def assert_everything_once(stack: Stack, archive: str) -> None:
    """One of each, however often it was tried."""
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
    kinds = stack.api.get(f"/archives/{archive}/events").json()["items"]
    seen = [event["type"].rpartition("/")[2] for event in kinds]
    assert len({event["id"] for event in kinds}) == len(kinds)
    for kind in ("ingestion", "creation", "dissemination"):
        assert seen.count(kind) == 1, seen


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_killed_anywhere_is_done_once_in_the_end(
    stack: Stack, faults: Path, function: str, point: str
) -> None:
    (faults / f"{function}.{point}").touch()
    archive = begin(stack, function, f"{function} {point}")
    assert_everything_once(stack, archive)
    # The last step's answer is known before its worker reaches the points behind it.
    stack.until(lambda: (faults / f"{function}.{point}.fired").exists() or None, 30, lambda: "never killed")


def test_every_cloudevent_delivered_twice_and_at_once(stack: Stack) -> None:
    stop, seen = threading.Event(), set[str]()
    sink = f"{stack.urls['broker']}/perdura/default"

    def repeat(pool: ThreadPoolExecutor) -> None:
        with httpx.Client() as client:
            while not stop.wait(0.02):
                with stack.database.connect() as connection:
                    rows = connection.execute(text("SELECT id, event FROM outbox ORDER BY sequence")).all()
                for row in rows:
                    if str(row.id) not in seen:
                        seen.add(str(row.id))
                        headers, body = encode_binary(from_json(row.event))
                        for _ in range(2):
                            pool.submit(client.post, sink, headers=headers, content=body)

    with ThreadPoolExecutor(8) as pool:
        repeating = threading.Thread(target=repeat, args=(pool,))
        repeating.start()
        try:
            archives = [stack.deposit(bag_tar({"a.txt": f"twice {n}".encode()})) for n in range(4)]
            for archive in archives:
                assert_everything_once(stack, archive)
        finally:
            stop.set()
            repeating.join()
    assert seen


@pytest.mark.parametrize("engine", ["broker", "postgres", "seaweedfs"])
def test_an_engine_killed_in_mid_work_loses_nothing(stack: Stack, engine: str) -> None:
    bags = [bag_tar({"a.txt": f"{engine} {n}".encode(), "b.bin": os.urandom(300_000)}) for n in range(4)]
    archives = [stack.deposit(bag) for bag in bags]
    os.kill(stack.pid(engine), signal.SIGKILL)
    for archive in archives:
        stack.finished(archive, timeout=200)
        assert_everything_once(stack, archive)
