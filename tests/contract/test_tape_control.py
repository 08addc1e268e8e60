"""Leading the local tape library by hand: faults, clock, speed, and jobs moved step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdura.local.tape import clock
from perdura.local.tape.fts.daemon import Pace
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer

BEARER = {"Authorization": "Bearer secret"}
JOB = {
    "files": [{"sources": ["https://source.example.org/a.tar"], "destinations": ["https://tape.example.org/a.tar"]}],
    "params": {"archive_timeout": 100, "retry": 1, "retry_delay": 1},
}


class Led:
    """A running library and its control interface."""

    def __init__(self, state: Path) -> None:
        self.server = TapeServer(
            state, token="secret", model=Model(mount=0.01, seek=0.001, keep=0.0, rate=0), pace=Pace(monitor=0.01)
        )
        self.server.start()
        self.http = httpx.Client(base_url=self.server.fts_url, headers=BEARER)

    def close(self) -> None:
        self.http.close()
        self.server.stop()
        clock.set_offset(0)

    def put(self, path: str, document: Any) -> httpx.Response:
        return self.http.put(f"/control/{path}", json=document)

    def submitted(self) -> str:
        return str(self.http.post("/jobs", json=JOB).json()["job_id"])

    def order(self, job: str, order: str, document: Any = None) -> httpx.Response:
        return self.http.post(f"/control/jobs/{job}/{order}", json=document)

    def file(self, job: str) -> dict[str, Any]:
        return dict(self.http.get(f"/jobs/{job}/files").json()[0])


@pytest.fixture
def led(tmp_path: Path) -> Iterator[Led]:
    made = Led(tmp_path)
    yield made
    made.close()


def test_only_who_runs_the_server_leads_it(led: Led) -> None:
    for headers in ({}, {"Authorization": "Bearer guessed"}):
        answer = httpx.put(f"{led.server.fts_url}/control/clock", json={"offset": 5}, headers=headers)
        assert answer.status_code == 401
    assert clock.offset() == 0
    assert led.http.get("/control").json() == {"clock_offset": 0.0, "speed": 1.0, "faults": [], "frozen": []}


def test_a_frozen_job_is_moved_step_by_step(led: Led) -> None:
    led.put("faults", [{"effect": "freeze", "match": "a.tar"}])
    job = led.submitted()
    time.sleep(0.1)
    assert led.file(job)["file_state"] == "SUBMITTED"
    assert led.http.get("/control").json()["frozen"] == [job]
    states = []
    for step in (
        {"event": "ready"}, {"event": "active", "size": 5000}, {"event": "ping", "thr": 2.5},
        {"event": "fail", "reason": "TRANSFER [110] timed out", "recoverable": True, "errno": 110},
        {"event": "ready"}, {"event": "active", "size": 5000}, {"event": "done", "dur": 2}, {"event": "archive_start"},
        {"event": "archive_end", "state": "FINISHED"},
    ):  # fmt: skip
        led.order(job, "steps", step).raise_for_status()
        states.append(led.file(job)["file_state"])
    assert states == [
        "READY", "ACTIVE", "ACTIVE", "SUBMITTED", "READY", "ACTIVE", "ARCHIVING", "ARCHIVING", "FINISHED",
    ]  # fmt: skip
    (failed,) = led.http.get(f"/jobs/{job}/files/{led.file(job)['file_id']}/retries").json()
    assert failed["reason"] == "TRANSFER [110] timed out"
    assert led.http.get(f"/jobs/{job}").json()["job_state"] == "FINISHED"
    led.order(job, "steps", {"event": "clean"})
    assert led.http.get(f"/jobs/{job}").status_code == 404
    assert led.http.get(f"/archive/{job}").json()["job_state"] == "FINISHED"


def test_a_frozen_job_goes_on_by_itself_when_it_thaws(led: Led) -> None:
    led.put("faults", [{"effect": "freeze", "match": "a.tar", "times": 1}])
    job = led.submitted()
    led.put("faults", [{"effect": "transfer-failure", "match": "a.tar", "errno": 2, "text": "SOURCE gone"}])
    led.order(job, "thaw").raise_for_status()
    end = time.monotonic() + 5
    while led.file(job)["file_state"] != "FAILED":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert led.file(job)["reason"] == "SOURCE [2] gone"


def test_the_clock_of_the_service_is_set_wrong(led: Led) -> None:
    led.put("faults", [{"effect": "freeze", "match": ""}])
    assert led.put("clock", {"offset": -86400}).json()["clock_offset"] == -86400
    told = led.http.get(f"/jobs/{led.submitted()}").json()["submit_time"]
    assert told == clock.moment()
    assert told < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 80000))


def test_the_library_works_faster(led: Led) -> None:
    assert led.put("speed", {"factor": 10}).json()["speed"] == 10
    assert led.server.library.model.mount == pytest.approx(0.001)
    led.put("speed", {"factor": 1})
    assert led.server.library.model.mount == 0.01


def ended(led: Led, job: str) -> dict[str, Any]:
    end = time.monotonic() + 10
    while (file := led.file(job))["file_state"] not in ("FINISHED", "FAILED"):
        assert time.monotonic() < end, file
        time.sleep(0.02)
    return file


MODEL = {"effect": "model", "match": "example.org"}


@pytest.mark.parametrize(
    ("rule", "state", "reason"),
    [
        ({}, "FINISHED", ""),
        ({"copy_seconds": 0.1, "archive_seconds": 1}, "FINISHED", ""),
        ({"copy_error": "SOURCE [2] not there"}, "FAILED", "SOURCE [2] not there"),
        ({"archive_error": "no tapes left"}, "FAILED", "ARCHIVING [42] [Tape REST API] no tapes left"),
    ],
)
def test_a_modelled_storage_moves_no_bytes(led: Led, rule: dict[str, Any], state: str, reason: str) -> None:
    led.put("faults", [MODEL | rule])
    file = ended(led, led.submitted())
    assert (file["file_state"], file["reason"]) == (state, reason)
    assert led.server.library.catalogue.residency() == {}


@pytest.mark.parametrize(
    ("rule", "state", "reason"),
    [
        ({"stage_seconds": 1}, "FINISHED", ""),
        ({"stage_error": "drive"}, "FAILED", "STAGING [42] [Tape REST API] drive"),
    ],
)
@pytest.mark.parametrize("only_stage", [True, False])
def test_a_modelled_tape_is_staged_from(
    led: Led, rule: dict[str, Any], state: str, reason: str, only_stage: bool
) -> None:
    led.put("faults", [MODEL | rule])
    tape = "https://tape.example.org/a.tar"
    document = {
        "files": [{"sources": [tape], "destinations": [tape if only_stage else "https://disk.example.org/a.tar"]}],
        "params": {"bring_online": 100, "copy_pin_lifetime": 100},
    }
    file = ended(led, str(led.http.post("/jobs", json=document).json()["job_id"]))
    assert (file["file_state"], file["reason"], file["bringonline_token"]) == (state, reason, "model")


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("faults", {"effect": "lost"}),
        ("faults", [{"effect": "earthquake"}]),
        ("faults", ["lost"]),
        ("clock", {"offset": "tomorrow"}),
        ("clock", [1]),
        ("speed", {"factor": 0}),
    ],
)
def test_orders_that_are_none_are_refused(led: Led, path: str, document: Any) -> None:
    answer = led.put(path, document)
    assert answer.status_code == 400, answer.text
    assert led.http.get("/control").json()["faults"] == []


def test_steps_that_are_none_are_refused(led: Led) -> None:
    unknown = "11111111-2222-4333-8444-555555555555"
    assert led.order(unknown, "freeze").status_code == 404
    led.put("faults", [{"effect": "transfer-failure", "match": "a.tar", "errno": 2, "text": "SOURCE gone"}])
    job = led.submitted()
    assert led.order(job, "steps", {"event": "ready"}).status_code == 409
    led.order(job, "freeze").raise_for_status()
    for step in ({"event": "explode"}, {}, {"event": "done"}, {"event": "ready", "file_index": 7}, ["ready"], 3):
        assert led.order(job, "steps", step).status_code == 400, step
