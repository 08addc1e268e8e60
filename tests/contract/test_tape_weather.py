"""Bad weather, injected into the emulated tape system: which state, PREMIS events and words each case leads to.

Whatever happens, an AIP has one copy on tape in the end or a person is told; no good copy is ever counted as lost.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdura.clients.tape import FtsTape, tape_system
from perdura.errors import Broken, UpstreamUnavailable
from perdura.local.tape import clock
from perdura.local.tape.clock import moment
from perdura.local.tape.fts.daemon import Pace
from perdura.local.tape.fts.identity import Identity
from perdura.local.tape.http import Request, Response, Server
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer
from perdura.outcome import ArchiveView, Copy, Outcome, StepState
from perdura.ports import TapeRequest
from perdura.settings import Settings
from perdura.steps import archive as archiving
from perdura.steps import recall as recalling
from tests.unit.tape.fakes import AIP, ARCHIVE, FakeClock, FakeTapeJobs, PresigningStore, aip, archive, ports

DATA = os.urandom(150_000)
PATH = f"{ARCHIVE}/{AIP}.tar"
ON_TAPE = f"/perdura/{PATH}"


class Weather:
    """One AIP on its way to an emulated tape system, and everything that was recorded of it."""

    def __init__(self, state: Path, **settings: Any) -> None:
        self.state = state
        self.reads = 0
        self.source = Server(0, self._read)
        self.source.start()
        self.store = PresigningStore()
        self.store.base = self.source.url
        self.package = aip(self.store, DATA)
        self.settings = settings
        self.start()
        self.clock = FakeClock(datetime.now(UTC))
        self.view: ArchiveView = archive(self.package)
        self.outcome = Outcome()
        self.told: list[tuple[str, str]] = []
        """Type and outcome of every PREMIS event."""
        self.findings: list[str] = []
        self.jobs = FakeTapeJobs()

    def start(self, *, fts_port: int = 0, endpoint_port: int = 0) -> None:
        """Start the tape system."""
        self.server = TapeServer(
            self.state, token="secret", model=Model(mount=0.01, seek=0.001, keep=0.0, rate=0),
            pace=Pace(monitor=0.01, retry_unit=0.0001), fts_port=fts_port, endpoint_port=endpoint_port,
        )  # fmt: skip
        self.server.start()
        self.tape = self.connect()

    def connect(self) -> FtsTape:
        values = {"tape_fts_url": self.server.fts_url, "tape_endpoint_url": self.server.endpoint_url}
        tape = tape_system(Settings(**(values | {"tape_token": "secret"} | self.settings)))
        assert tape is not None
        return tape

    def stop(self) -> None:
        """Stop the tape system; its connections end with it."""
        self.tape.close()
        self.server.stop()
        self.tape = self.connect()

    def close(self) -> None:
        self.stop()
        self.tape.close()
        self.source.stop()

    def _read(self, asked: Request) -> Response:
        if asked.method != "GET":
            return Response(403)
        if asked.headers.get("range") == "bytes=0-0":
            return Response(206, DATA[:1], {"Content-Range": f"bytes 0-0/{len(DATA)}"})
        self.reads += 1
        return Response(200, DATA)

    def inject(self, *rules: dict[str, object]) -> None:
        """Put faults in force; without any, the weather is good again."""
        (self.state / "faults.json").write_text(json.dumps(rules))

    @property
    def ports(self) -> Any:
        made = ports(self.tape, self.store, clock=self.clock, tape_poll_seconds=30, **self.settings)
        return replace(made, tape_jobs=self.jobs)

    def took(self, outcome: Outcome) -> Outcome:
        checkpoint = outcome.checkpoint or {}
        self.view = replace(self.view, step=replace(self.view.step, checkpoint=checkpoint))
        self.told += [(event.type, event.outcomes[0].outcome) for event in outcome.events]
        self.findings += [finding.message for finding in outcome.findings]
        self.outcome = outcome
        return outcome

    def run(self) -> Outcome:
        return self.took(archiving.run(self.view, self.ports))

    def poll(self) -> Outcome:
        self.clock.forward(seconds=60)
        ((_, outcome),) = archiving.poll([self.view], self.ports)
        return self.took(outcome)

    def until(self, *waiting_for: str, seconds: float = 10) -> Outcome:
        """Look until the step is over, or waits for one of these."""
        end = time.monotonic() + seconds
        while self.outcome.state is StepState.WAITING and self.waits_for not in waiting_for:
            assert time.monotonic() < end, self.outcome
            time.sleep(0.02)
            self.poll()
        return self.outcome

    @property
    def waits_for(self) -> str:
        return str(self.outcome.output["tape"]["waiting_for"]) if self.outcome.output else ""

    @property
    def submitted(self) -> int:
        """Jobs that FTS has, ended ones too."""
        return sum(self.server.ledger.counts().values())

    @property
    def files(self) -> dict[str, int]:
        """Files in the tape system."""
        return dict(self.server.library.catalogue.residency())

    def put(self, data: bytes, *, wait: bool = True) -> None:
        """Put something at the destination, as somebody else would."""
        with self.server.library.writer(ON_TAPE, len(data)) as writer:
            writer.write(data)
            writer.finish()
        end = time.monotonic() + 5
        while wait and not self.entry.on_tape:
            assert time.monotonic() < end
            time.sleep(0.01)

    @property
    def entry(self) -> Any:
        return self.server.library.catalogue.entry(ON_TAPE)

    def try_again(self) -> None:
        """The library takes up again what it did not archive."""
        library = self.server.library
        with library._condition:
            library._archives.append(ON_TAPE)
            library._condition.notify()

    def is_on_tape_once(self) -> None:
        """The step is completed, with one copy and the events that say so."""
        assert self.outcome.state is StepState.COMPLETED, self.outcome
        assert self.told[-2:] == [("replication", "success"), ("fixity check", "success")]
        assert self.entry.on_tape
        assert sum(self.files.values()) == 1
        assert self.jobs.in_flight == set()


@pytest.fixture
def weather(tmp_path: Path) -> Iterator[Weather]:
    made = Weather(tmp_path / "tape")
    yield made
    made.close()


def test_fts_is_down_and_comes_back(weather: Weather) -> None:
    ports_before = weather.server.fts_server.port, weather.server.endpoint_server.port
    weather.stop()
    weather.took(archiving.run(weather.view, weather.ports))
    assert weather.waits_for == "fts-unavailable"
    assert "FTS did not answer" in weather.findings[-1]
    weather.poll()
    assert weather.waits_for == "fts-unavailable"
    weather.tape.close()
    weather.start(fts_port=ports_before[0], endpoint_port=ports_before[1])
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 1
    assert [kind for kind, _ in weather.told] == ["replication", "fixity check"]


def test_fts_goes_down_between_two_looks(weather: Weather) -> None:
    weather.inject({"effect": "never-archived", "match": PATH})
    weather.run()
    weather.until("archiving")
    before = weather.view.step.checkpoint
    port, endpoint = weather.server.fts_server.port, weather.server.endpoint_server.port
    weather.stop()
    weather.poll()
    assert weather.outcome.state is StepState.WAITING
    assert weather.view.step.checkpoint == before
    weather.inject()
    weather.tape.close()
    weather.start(fts_port=port, endpoint_port=endpoint)
    weather.try_again()
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 1


def test_fts_is_slow(weather: Weather) -> None:
    client = weather.tape.fts._client  # type: ignore[attr-defined]
    client.timeout = httpx.Timeout(0.3)
    weather.inject({"effect": "hang", "match": "POST /jobs", "seconds": 1, "times": 1})
    weather.run()
    assert weather.waits_for == "fts-unavailable"
    time.sleep(1)
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 1, "the slow answer and the repeated question are one job"


@pytest.mark.parametrize("fault", [{"effect": "http", "status": 500}, {"effect": "http", "status": 503}])
def test_fts_answers_with_an_error_of_its_own(weather: Weather, fault: dict[str, object]) -> None:
    weather.inject({**fault, "match": "POST /jobs", "times": 1})
    weather.run()
    assert weather.waits_for == ("fts-unavailable" if fault["status"] == 503 else "fts-internal-error")
    assert "injected" in weather.findings[-1]
    weather.inject({**fault, "match": "GET /jobs", "times": 2})
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 1


@pytest.mark.parametrize("effect", ["truncate", "reset-before", "reset-after"])
def test_a_status_that_is_cut_off_concludes_nothing(weather: Weather, effect: str) -> None:
    weather.run()
    weather.inject({"effect": effect, "match": "GET /jobs", "times": 2})
    weather.until()
    weather.is_on_tape_once()
    assert weather.told == [("replication", "success"), ("fixity check", "success")]


def test_the_answer_is_lost_after_the_job_was_stored(weather: Weather) -> None:
    weather.inject({"effect": "reset-after", "match": "POST /jobs", "times": 1})
    weather.run()
    assert weather.outcome.state is StepState.WAITING
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 1


def test_one_of_several_jobs_is_unknown(weather: Weather) -> None:
    """207: the good answers count; the unknown job is looked for elsewhere, then asked for under its own key."""
    weather.run()
    weather.until("archiving", "active")
    lost = replace(weather.view, id=ARCHIVE.__class__(int=9))
    checkpoint = {**weather.view.step.checkpoint, "job": "11111111-2222-4333-8444-555555555555", "path": "9/none.tar"}
    lost = replace(lost, step=replace(lost.step, checkpoint=checkpoint))
    end = time.monotonic() + 10
    while True:
        (_, good), (_, other) = archiving.poll([weather.view, lost], weather.ports)
        if good.state is StepState.COMPLETED:
            break
        assert time.monotonic() < end
        time.sleep(0.02)
    assert other.state is StepState.WAITING
    assert other.checkpoint is not None
    assert (other.checkpoint["phase"], other.checkpoint["round"]) == ("submit", 1)
    assert "FTS no longer knows the job" in other.findings[0].message
    assert other.events == (), "nothing has failed yet"


def test_an_fts_that_does_not_show_a_job_for_a_while_gets_no_second_one(weather: Weather) -> None:
    weather.inject({"effect": "freeze", "match": PATH})
    weather.run()
    job = str(weather.view.step.checkpoint["job"])
    ledger = weather.server.ledger
    real = ledger.job
    ledger.job = lambda _: None  # type: ignore[method-assign]
    assert weather.poll().output["tape"]["waiting_for"] == "job-unknown"
    ledger.job = real  # type: ignore[method-assign]
    weather.poll()
    assert weather.view.step.checkpoint["job"] == job
    weather.inject()
    weather.server.daemon.thaw(job)
    weather.until()
    weather.is_on_tape_once()
    assert (weather.submitted, weather.reads) == (1, 1)


def test_an_fts_that_lost_a_job_gets_it_again_and_then_another(weather: Weather) -> None:
    weather.inject({"effect": "freeze", "match": PATH})
    weather.run()
    checkpoints = []
    for _ in range(4):
        checkpoint = weather.view.step.checkpoint
        if checkpoint["job"]:
            weather.server.ledger._rows("DELETE FROM file WHERE job_id = ?", (checkpoint["job"],))
            weather.server.ledger._rows("DELETE FROM job WHERE job_id = ?", (checkpoint["job"],))
        weather.poll()
        checkpoints.append((weather.view.step.checkpoint["phase"], weather.view.step.checkpoint["round"]))
    assert checkpoints == [("submit", 1), ("job", 1), ("submit", 2), ("job", 2)]
    assert weather.told == [("replication", "fail")]


@pytest.mark.parametrize("there", [False, True])
def test_a_job_is_never_asked_of_another_fts_beside_the_first(weather: Weather, there: bool) -> None:
    weather.inject({"effect": "freeze", "match": PATH})
    weather.run()
    checkpoint = {**weather.view.step.checkpoint, "job": "11111111-2222-4333-8444-555555555555"}
    checkpoint["account"] = ["https://fts-before.example.org:8446", "/CN=robot"]
    weather.view = replace(weather.view, step=replace(weather.view.step, checkpoint=checkpoint))
    if there:
        weather.put(DATA)
        weather.poll()
        weather.is_on_tape_once()
        return
    weather.poll()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "other-fts-account")
    assert "https://fts-before.example.org:8446 as /CN=robot" in str(weather.outcome.message)
    assert weather.submitted == 1


@pytest.mark.parametrize("visible", [True, False])
def test_an_answer_lost_before_fts_has_us_in_another_vo_makes_no_second_job(weather: Weather, visible: bool) -> None:
    """The worker dies after FTS took the job; its administrator moves us to another VO; another worker goes on."""
    if not visible:
        weather.inject({"effect": "freeze", "match": PATH})
    submit, who = weather.tape.submit, weather.server.service.who

    def dies(request: TapeRequest) -> str:
        submit(request)
        raise UpstreamUnavailable("FTS did not answer POST", code="fts-unavailable")

    def moved(asked: Request) -> Identity | Response:
        found = who(asked)
        assert isinstance(found, Identity)
        level = "all" if visible else "vo"
        return replace(found, vos=("archives",), levels=dict.fromkeys(found.levels, level))

    weather.tape.submit = dies  # type: ignore[method-assign]
    weather.run()
    weather.server.service.who = moved
    weather.tape.close()
    weather.tape = weather.connect()
    weather.poll()
    if visible:
        weather.until()
        weather.is_on_tape_once()
    else:
        weather.poll()
        assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "job-withheld")
    assert weather.submitted == 1


def test_fts_has_forgotten_a_job_that_was_done(weather: Weather) -> None:
    weather.run()
    job = str(weather.view.step.checkpoint["job"])
    end = time.monotonic() + 10
    # The cleaner takes only what has ended; FTS learns a little later than the tape that it has.
    while weather.server.ledger.job(job)["job_state"] != "FINISHED":
        assert time.monotonic() < end
        time.sleep(0.02)
    weather.server.ledger.clean(job)
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 1


def test_an_operator_cancels_the_job_at_fts(weather: Weather) -> None:
    weather.inject({"effect": "never-archived", "match": PATH})
    weather.run()
    weather.until("archiving")
    weather.tape.cancel([str(weather.view.step.checkpoint["job"])])
    weather.until()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "job-cancelled")
    assert weather.outcome.message == "Somebody cancelled the job at FTS: Job canceled by the user"
    assert weather.told == [("replication", "fail")]
    weather.inject()
    weather.try_again()
    weather.view = archive(weather.package, attempt=2)
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 1, "what was copied before is found, not copied again"


def test_the_user_is_banned(weather: Weather) -> None:
    weather.tape.fts.identity()
    weather.server.ledger.keep_note("banned-dn", "perdura", {"by": "somebody"})
    weather.run()
    assert weather.waits_for == "tape-paused"
    assert "The user has been banned" in weather.findings[-1]
    assert "The user has been banned" in str(weather.jobs.paused())
    weather.server.ledger.keep_note("banned-dn", "perdura", None)
    assert weather.poll().output["tape"]["waiting_for"] == "tape-paused", "a person resumes"
    weather.jobs.pause = None
    weather.until()
    weather.is_on_tape_once()


def test_the_user_is_banned_while_a_job_is_under_way(weather: Weather) -> None:
    weather.inject({"effect": "never-archived", "match": PATH})
    weather.run()
    weather.until("archiving")
    weather.server.ledger.keep_note("banned-dn", "perdura", {"by": "somebody"})
    weather.poll()
    assert weather.waits_for == "fts-banned"
    assert weather.jobs.paused()
    weather.server.ledger.keep_note("banned-dn", "perdura", None)
    weather.inject()
    weather.try_again()
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 1


@pytest.mark.parametrize("status", [400, 403, 405])
@pytest.mark.parametrize("later", [False, True])
def test_fts_refuses_the_submission(weather: Weather, status: int, later: bool) -> None:
    weather.inject({"effect": "http", "match": "POST /jobs", "status": 503 if later else status})
    if later:
        weather.run()
        weather.inject({"effect": "http", "match": "POST /jobs", "status": status})
        weather.poll()
        assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "fts-refused")
        assert weather.outcome.message == f"FTS answered {status}: injected"
        assert weather.told == [("replication", "fail")]
    else:
        with pytest.raises(Broken, match=f"FTS answered {status}: injected") as refused:
            weather.run()
        assert refused.value.code == "fts-refused"
    assert weather.submitted == 0


@pytest.mark.parametrize("lost_with", [{"status": 503}, {"status": 403}])
@pytest.mark.parametrize("shown", [True, False])
def test_what_fts_refuses_after_a_lost_answer_may_be_there_and_is_followed(
    weather: Weather, lost_with: dict[str, object], shown: bool
) -> None:
    """The job was stored, its answer lost; then FTS refuses: storage banned, rights taken away."""
    fresh = weather.view
    weather.inject(
        {"effect": "freeze", "match": ""}, {"effect": "reset-after", "match": "POST /jobs", "times": 1},
        {"effect": "http", "match": "GET /jobs", **lost_with},
    )  # fmt: skip
    weather.run()
    assert (weather.outcome.state, weather.submitted) == (StepState.WAITING, 1)
    unseen = () if shown else ({"effect": "http", "match": "GET /jobs", "status": 403},)
    weather.inject({"effect": "freeze", "match": ""}, {"effect": "http", "match": "POST /jobs", "status": 403}, *unseen)
    weather.poll()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "fts-refused")
    assert len(weather.jobs.in_flight) == 1, "it may be alive"
    weather.inject({"effect": "freeze", "match": ""})
    weather.view = replace(fresh, step=replace(fresh.step, attempt=2))
    weather.run()
    assert weather.outcome.state is StepState.WAITING
    assert weather.submitted == 1, "no second job beside it"
    weather.inject()
    weather.server.daemon.thaw(weather.view.step.checkpoint["job"])
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 1


def test_what_fts_refuses_and_says_it_never_had_is_over(weather: Weather) -> None:
    weather.inject({"effect": "reset-before", "match": "POST /jobs", "times": 1})
    weather.run()
    weather.inject({"effect": "http", "match": "POST /jobs", "status": 403})
    weather.poll()
    assert weather.outcome.state is StepState.BLOCKED
    assert weather.jobs.in_flight == set()


def test_a_submission_that_only_ever_ends_in_a_500_is_shown_to_a_person(weather: Weather) -> None:
    weather.inject({"effect": "http", "match": "POST /jobs", "status": 500})
    weather.run()
    looks = 1
    while weather.outcome.state is StepState.WAITING:
        assert weather.waits_for == "fts-internal-error"
        weather.poll()
        looks += 1
    assert (weather.outcome.state, weather.outcome.error_code, looks) == (
        StepState.BLOCKED, "fts-internal-error", 9,
    )  # fmt: skip
    assert "again and again" in str(weather.outcome.message)
    assert weather.told == [("replication", "fail")]
    assert weather.jobs.in_flight == set()


@pytest.mark.parametrize("ended", ["running", "finished", "failed", "cleaned"])
def test_the_job_is_there_already_and_we_do_not_know_it(weather: Weather, ended: str) -> None:
    """409: the registry is older than FTS, as after a restore from backup."""
    fresh = weather.view
    if ended == "running":
        weather.inject({"effect": "never-archived", "match": PATH})
    if ended == "failed":
        weather.inject({"effect": "transfer-failure", "match": PATH, "errno": 22, "text": "TRANSFER odd", "times": 4})
    weather.run()
    job = str(weather.view.step.checkpoint["job"])
    end = time.monotonic() + 10
    wanted = {"running": "ARCHIVING", "failed": "FAILED"}.get(ended, "FINISHED")
    while weather.server.ledger.job(job)["job_state"] != wanted:
        assert time.monotonic() < end
        time.sleep(0.02)
    if ended == "cleaned":
        weather.server.ledger.clean(job)
    weather.view = fresh
    weather.run()
    assert weather.view.step.checkpoint["job"] == job
    if ended == "running":
        weather.inject()
        weather.try_again()
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 1, "no second copy"
    assert weather.submitted == (2 if ended == "failed" else 1)


def test_the_destination_exists_and_fts_cannot_say_what_it_is(weather: Weather) -> None:
    """No `dst_file` in the report: the endpoint is asked by ourselves."""
    weather.put(DATA)
    weather.inject({"effect": "http", "match": "/archiveinfo", "status": 500, "times": 1})
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 0


@pytest.mark.parametrize(
    ("errno", "text", "code"), [(2, "SOURCE not there", "source-missing"), (13, "SOURCE not for you", "source-closed")]
)
def test_fts_cannot_read_the_aip(weather: Weather, errno: int, text: str, code: str) -> None:
    weather.inject({"effect": "transfer-failure", "match": PATH, "errno": errno, "text": text})
    weather.run()
    weather.until()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, code)
    assert "the gateway, the store or the registry is at fault" in str(weather.outcome.message)
    assert set(weather.told) == {("replication", "fail")}


def test_what_passes_is_tried_in_further_rounds_after_ftss_own_attempts(weather: Weather) -> None:
    text = "TRANSFER TRANSFER ERROR: Copy failed (3rd pull). Last attempt: Connection timed out"
    weather.inject({"effect": "transfer-failure", "match": PATH, "errno": 110, "text": text, "times": 4})
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 2
    assert [len(kept) for kept in weather.jobs.failed.values()] == [3]


def test_the_right_file_is_at_the_destination_already(weather: Weather) -> None:
    weather.put(DATA)
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert weather.reads == 0
    assert "not copied again" in weather.outcome.events[0].details[1]


def test_the_right_file_is_at_the_destination_but_on_disk_only(weather: Weather) -> None:
    weather.inject({"effect": "never-archived", "match": PATH})
    weather.put(DATA, wait=False)
    weather.run()
    weather.until("on-disk")
    assert weather.view.step.checkpoint["phase"] == "tape"
    assert weather.jobs.in_flight == set()
    weather.inject()
    weather.try_again()
    weather.until()
    weather.is_on_tape_once()
    assert (weather.reads, weather.submitted) == (0, 1)


def test_another_file_is_at_the_destination(weather: Weather) -> None:
    weather.put(b"something else")
    weather.run()
    weather.until()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "destination-differs")
    assert "nothing was overwritten" in str(weather.outcome.message)
    assert weather.told == [("replication", "fail")]
    assert (weather.entry.size, weather.reads) == (len(b"something else"), 0)


def test_the_archive_timeout_passes_with_the_file_on_disk_only(tmp_path: Path) -> None:
    weather = Weather(tmp_path / "tape", tape_archive_timeout=1)
    try:
        weather.inject({"effect": "never-archived", "match": PATH})
        weather.run()
        weather.until("on-disk")
        assert "archive timeout" in weather.findings[-1]
        assert weather.told == [], "a copy that only has to reach tape is no failure"
        weather.inject()
        weather.try_again()
        weather.until()
        weather.is_on_tape_once()
        assert (weather.reads, weather.submitted) == (1, 1)
    finally:
        weather.close()


def test_a_file_that_never_reaches_tape_is_shown_to_a_person_after_the_patience(weather: Weather) -> None:
    weather.inject({"effect": "archive-error", "match": PATH, "text": "no tapes left"})
    weather.run()
    weather.until()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "archiving-error")
    assert "no tapes left" in str(weather.outcome.message)
    assert (weather.reads, weather.told) == (1, [("replication", "fail")])


def test_the_copy_is_damaged_on_the_way(weather: Weather) -> None:
    weather.inject({"effect": "corrupt", "match": PATH, "times": 1})
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert weather.told[0] == ("replication", "fail")
    assert any("ADLER32 checksum do not match" in finding for finding in weather.findings)
    assert (weather.reads, weather.submitted) == (2, 2)


def test_the_source_is_damaged(weather: Weather) -> None:
    text = "SOURCE Source and user-defined ADLER32 checksum do not match (00000001 != 0a0b0c0d)"
    weather.inject({"effect": "transfer-failure", "match": PATH, "errno": 5, "text": text})
    weather.run()
    weather.until()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "source-damaged")
    assert [fact.type for fact in weather.outcome.facts] == ["org.perdura.fixity.requested.v1"]
    assert weather.told == [("replication", "fail")]
    assert weather.submitted == 1


def test_the_proxy_expires_on_the_way(weather: Weather) -> None:
    text = "TRANSFER TRANSFER ERROR: Copy failed (3rd pull). Last attempt: proxy expired"
    weather.inject({"effect": "transfer-failure", "match": PATH, "errno": 13, "text": text, "times": 1})
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert any("Our credential expired on the way" in finding for finding in weather.findings)
    assert weather.submitted == 2


def test_every_attempt_of_fts_that_failed_is_kept(weather: Weather) -> None:
    text = "TRANSFER TRANSFER ERROR: Copy failed (3rd pull). Last attempt: Connection timed out"
    weather.inject({"effect": "transfer-failure", "match": PATH, "errno": 110, "text": text, "times": 3})
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    (kept,) = weather.jobs.failed.values()
    assert [each.attempt for each in kept] == [1, 2, 3]
    assert all("Connection timed out" in each.reason and each.log_file for each in kept)
    assert weather.submitted == 1


def test_the_job_stays_in_the_queue_for_too_long(weather: Weather) -> None:
    weather.inject({"effect": "never-archived", "match": PATH})
    weather.run()
    weather.until("archiving")
    job_id = str(weather.view.step.checkpoint["job"])
    ledger = weather.server.ledger
    with ledger.change():
        job, files = ledger.job(job_id), ledger.files(job_id)
        assert job is not None
        reason = "Job has been canceled because it stayed in the queue for too long (max-time-in-queue timeout)"
        job |= {"job_state": "CANCELED", "job_finished": moment()}
        files[0] |= {"file_state": "CANCELED", "reason": reason, "finish_time": moment()}
        ledger.store(job, files)
    weather.inject()
    weather.server.library.delete(ON_TAPE)
    weather.until()
    weather.is_on_tape_once()
    assert weather.told[0] == ("replication", "fail")


@pytest.mark.parametrize("days", [-2, 2])
def test_our_clock_is_wrong(weather: Weather, days: int) -> None:
    weather.clock.forward(days=days)
    weather.run()
    weather.until()
    weather.is_on_tape_once()
    assert weather.submitted == 1


@pytest.mark.parametrize("days", [-2, 2])
def test_the_clock_of_fts_is_wrong(weather: Weather, days: int) -> None:
    clock.set_offset(days * 86400)
    try:
        weather.run()
        weather.until()
        weather.is_on_tape_once()
        assert weather.submitted == 1
    finally:
        clock.set_offset(0)


class TestRecall:
    """What comes back from tape when the tape is not well."""

    @pytest.fixture
    def archived(self, weather: Weather) -> Weather:
        weather.run()
        weather.until()
        weather.is_on_tape_once()
        copy = Copy(AIP, "tape", weather.outcome.copies[0].uri, len(DATA), {})
        weather.view = replace(archive(weather.package, name="recall"), copies=(copy,))
        weather.told.clear()
        end = time.monotonic() + 5
        while weather.entry.on_disk:
            assert time.monotonic() < end
            time.sleep(0.01)
        return weather

    def recall(self, weather: Weather, *waiting_for: str) -> Outcome:
        end = time.monotonic() + 10
        while True:
            weather.clock.forward(seconds=60)
            outcome = weather.took(recalling.run(weather.view, weather.ports))
            if outcome.state is not StepState.WAITING or outcome.output["recall"]["waiting_for"] in waiting_for:
                return outcome
            assert time.monotonic() < end, outcome
            time.sleep(0.02)

    def test_it_comes_back(self, archived: Weather) -> None:
        assert self.recall(archived).state is StepState.COMPLETED
        assert archived.told == [("recovery", "success"), ("fixity check", "success")]

    def test_the_file_is_lost_on_tape(self, archived: Weather) -> None:
        library = archived.server.library
        library.tape_file(archived.entry.volume, archived.entry.sequence).unlink()
        outcome = self.recall(archived)
        assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "lost-on-tape")
        assert outcome.message == "The tape system has lost the file: the file is lost on tape"
        assert outcome.facts[0].type == "org.perdura.fixity.failed.v1"
        assert archived.told == [("recovery", "fail")]

    def test_a_drive_fails_twice(self, archived: Weather) -> None:
        archived.inject({"effect": "stage-error", "match": PATH, "text": "drive failure", "times": 2})
        assert self.recall(archived).state is StepState.COMPLETED
        assert archived.findings.count("drive failure") == 2

    def test_the_endpoint_is_down_for_a_while(self, archived: Weather) -> None:
        archived.inject({"effect": "http", "match": "/stage", "status": 503, "times": 2})
        assert self.recall(archived).state is StepState.COMPLETED

    def test_the_tape_is_damaged(self, archived: Weather) -> None:
        file = archived.server.library.tape_file(archived.entry.volume, archived.entry.sequence)
        file.write_bytes(b"x" + file.read_bytes()[1:])
        outcome = self.recall(archived)
        assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "staging-failed")
        assert "checksum on tape is" in str(outcome.message)
        assert archived.told == [("recovery", "fail")]


def test_patience_is_counted_by_our_own_clock(weather: Weather) -> None:
    weather.inject({"effect": "never-archived", "match": PATH})
    weather.put(DATA, wait=False)
    weather.run()
    weather.until("on-disk")
    weather.clock.at += timedelta(days=15)
    weather.poll()
    assert (weather.outcome.state, weather.outcome.error_code) == (StepState.BLOCKED, "not-on-tape")
    assert "on the disk buffer for 15 days" in str(weather.outcome.message)


@pytest.mark.parametrize(("there", "end"), [(DATA, None), (b"another" * 100, "destination-differs")])
def test_the_file_appears_while_fts_copies(weather: Weather, there: bytes, end: str | None) -> None:
    """EEXIST of the copy itself, after the look that FTS takes before it: as good, or as bad, as one found before."""
    weather.put(there)
    said = "TRANSFER TRANSFER ERROR: Copy failed (3rd pull). Last attempt: copy HTTP 412 : File exists"
    weather.inject({"effect": "transfer-failure", "match": PATH, "errno": 17, "text": said})
    weather.run()
    weather.until()
    assert weather.outcome.error_code == end
    if end is None:
        weather.is_on_tape_once()
        assert weather.outcome.state is StepState.COMPLETED
    else:
        assert weather.outcome.state is StepState.BLOCKED
    assert weather.submitted == 1
