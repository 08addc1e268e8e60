"""Ready: when the database has the schema of this version, and from then on; a database that is away ends no pod."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine, text

from perdura.registry.migrate import HEAD
from perdura.runtime.readiness import Readiness
from tests.contract.test_metrics import NAMES, served

pytestmark = pytest.mark.stack


def within(seconds: float, true: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_ready_once_the_database_has_its_schema(
    name: str, owner: Engine, database_url: str, tmp_path: Path
) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with served(name, database_url, tmp_path / "log") as (address, _):
        answers = [httpx.get(f"{address}{path}", timeout=5).status_code for path in ("/readyz", "/_/ready")]
        assert answers == [503, 503]
        assert httpx.get(f"{address}/healthz", timeout=5).status_code == 200
        with owner.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{HEAD}'"))
        assert within(5, lambda: httpx.get(f"{address}/readyz", timeout=5).status_code == 200)
    assert f"the schema is at 0001, this version needs {HEAD}" in (tmp_path / "log").read_text()


def test_an_empty_database_is_not_what_is_needed() -> None:
    assert not Readiness(lambda: None, "0002").ready()


@pytest.mark.parametrize("found", ["0002", "0003"])
def test_a_newer_schema_is_as_good(found: str) -> None:
    assert Readiness(lambda: found, "0002").ready()


def test_who_was_ready_stays_so_while_the_database_is_away() -> None:
    looks = iter(["0002"])
    readiness = Readiness(lambda: next(looks), "0002", again=0)
    assert readiness.ready()
    assert all(readiness.ready() for _ in range(10)), "nobody looks again"


def test_who_begins_in_an_outage_is_ready_after_it() -> None:
    away = True

    def schema() -> str:
        if away:
            raise OSError("no route")
        return "0002"

    readiness = Readiness(schema, "0002", again=0.05)
    assert not readiness.ready()
    away = False
    assert within(2, readiness.ready)


def test_a_database_that_does_not_answer_holds_up_no_probe_and_is_asked_once_at_a_time() -> None:
    answer, asked = threading.Event(), []

    def schema() -> str:
        asked.append(1)
        answer.wait(20)
        return "0002"

    readiness = Readiness(schema, "0002", wait=0.05, again=0)
    begun = time.monotonic()
    probes = [threading.Thread(target=readiness.ready) for _ in range(20)]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join()
    assert time.monotonic() - begun < 1
    assert len(asked) == 1
    answer.set()
    assert within(2, readiness.ready)


def test_the_database_is_not_asked_more_often_than_it_bears() -> None:
    asked = []
    readiness = Readiness(lambda: asked.append(1), "0002", wait=0.01, again=60)
    for _ in range(20):
        assert not readiness.ready()
    assert len(asked) == 1
