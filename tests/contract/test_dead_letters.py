"""What the broker gave up: an event in the log where something was lost, a figure where it is asked for again."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.message import CloudEvent
from perdura.errors import StoreUnavailable
from perdura.ids import new_id
from perdura.outcome import ArchiveView, Outcome
from perdura.ports import Ports
from perdura.runtime import function, metrics
from tests.contract.delivering import Harness, post

pytestmark = pytest.mark.stack

MAIN = Path(__file__).resolve().parents[2] / "functions" / "premis-log" / "main.py"
GIVEN_UP = {"knativeerrorcode": "503", "knativeerrordest": "http://ingest.perdura.svc"}


@pytest.fixture
def record() -> Any:
    """What `premis-log` does with a CloudEvent."""
    return runpy.run_path(str(MAIN))["record"]


def given_up(event: CloudEvent, **data: object) -> CloudEvent:
    return replace(event, data={**event.data, **data}, extensions={**event.extensions, **GIVEN_UP})


def logged(database: Engine) -> int:
    with database.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM premis_log")).scalar_one())


def test_requests_given_up_in_an_outage_are_counted_and_not_recorded(
    harness: Harness,
    record: Any,
    database: Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(archive: ArchiveView, ports: Ports) -> Outcome:
        raise StoreUnavailable("The store is away.")

    counted: list[dict[str, str]] = []
    monkeypatch.setattr(metrics, "add", lambda metric, value=1, **labels: counted.append(labels))
    harness.run = away
    _, asked = harness.begin()
    assert post(harness.function(), asked).status_code == 503
    counted.clear()
    before = logged(database)
    for ask in range(3):
        again = replace(asked, id=f"again-{ask}")
        assert record(harness.environment, given_up(again)) == []
    assert logged(database) == before
    assert counted == [{"type": asked.type}] * 3


def test_the_last_request_of_a_step_that_is_done_is_not_recorded(
    harness: Harness,
    record: Any,
    database: Engine,
) -> None:
    _, asked = harness.begin()
    assert post(harness.function(), asked).status_code == 204
    before = logged(database)
    record(harness.environment, given_up(asked))
    assert logged(database) == before


@pytest.mark.parametrize("step", [str(new_id()), None, "x"], ids=["unknown", "none", "no-id"])
def test_a_request_that_nobody_makes_again_is_recorded(
    step: str | None,
    harness: Harness,
    record: Any,
    database: Engine,
) -> None:
    _, asked = harness.begin()
    before = logged(database)
    record(harness.environment, given_up(asked, step=step))
    assert logged(database) == before + 1


def test_a_fact_that_could_not_be_told_is_recorded(harness: Harness, record: Any, database: Engine) -> None:
    archive, _ = harness.begin()
    told = CloudEvent("1", "/perdura/registry", "org.perdura.archive.withdrawn.v1", data={"archive": str(archive)})
    before = logged(database)
    record(harness.environment, given_up(told))
    assert logged(database) == before + 1


def test_a_dead_letter_whose_data_is_broken_is_recorded_all_the_same(
    harness: Harness, record: Any, database: Engine
) -> None:
    unit = function.Function("premis-log", intake=record)
    headers = {
        "ce-specversion": "1.0",
        "ce-id": str(new_id()),
        "ce-source": "/elsewhere",
        "ce-type": "org.example.told",
    }

    @Request.application
    def application(request: Request) -> Response:
        return unit.respond(request)

    before = logged(database)
    answer = Client(application).post("/", headers={**headers, "content-type": "application/json"}, data=b"{broken")
    assert answer.status_code in (200, 204)
    assert logged(database) == before + 1
