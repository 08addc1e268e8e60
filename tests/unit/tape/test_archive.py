"""The archive step against a tape system in memory: one copy, proven, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perdura.clients.fts import FtsRefused
from perdura.errors import Rejected, UpstreamUnavailable
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.ports import Ports, Residency, TapeJob
from perdura.steps import archive as step
from tests.unit.tape.fakes import AIP, ARCHIVE, FakeClock, FakeTape, PresigningStore, aip, archive, ports

DATA = b"an AIP" * 1000


class Bench:
    """One Archive on its way, and the outcomes so far."""

    def __init__(self, **settings: Any) -> None:
        self.store = PresigningStore()
        self.package = aip(self.store, DATA)
        self.tape = FakeTape(fetch=lambda url: DATA)
        self.clock = FakeClock()
        self.ports: Ports = ports(self.tape, self.store, clock=self.clock, **settings)
        self.view: ArchiveView = archive(self.package)

    def run(self) -> Outcome:
        return self._took(step.run(self.view, self.ports))

    def poll(self) -> Outcome:
        self.clock.forward(seconds=60)
        ((_, outcome),) = step.poll([self.view], self.ports)
        return self._took(outcome)

    def _took(self, outcome: Outcome) -> Outcome:
        if outcome.checkpoint is not None:
            self.view = replace(self.view, step=replace(self.view.step, checkpoint=outcome.checkpoint))
        return outcome

    @property
    def job(self) -> str:
        return str(self.view.step.checkpoint["job"])

    def job_is(self, state: str, reason: str | None = None, **more: Any) -> None:
        self.tape.states[self.job] = TapeJob(self.job, state, reason, **more)


def test_a_copy_counts_when_the_endpoint_confirms_it() -> None:
    bench = Bench()
    submitted = bench.run()
    assert submitted.state is StepState.WAITING
    assert submitted.poll_at is not None
    assert bench.poll().state is StepState.WAITING
    bench.tape.tick()
    outcome = bench.poll()
    assert outcome.state is StepState.COMPLETED
    (copy,) = outcome.copies
    assert (copy.location, copy.size, copy.package_id) == ("tape", len(DATA), AIP)
    assert copy.uri == f"davs://tape.example.org/perdura/{ARCHIVE}/{AIP}.tar"
    assert copy.verified_at == bench.clock.now()
    assert [event.type for event in outcome.events] == ["replication", "fixity check"]
    assert outcome.facts[0].type == "org.perdura.aip.archived.v1"
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_the_intent_is_declared_before_fts_is_asked() -> None:
    bench = Bench()
    bench.tape.down = True
    with pytest.raises(UpstreamUnavailable):
        bench.run()
    assert list(bench.ports.intents.declared) == [f"tape:{AIP}:tape:1.1"]  # type: ignore[attr-defined]


def test_a_run_repeated_after_a_crash_asks_for_the_same_job() -> None:
    bench = Bench()
    bench.run()
    bench.view = archive(bench.package)
    bench.run()
    assert len(bench.tape.requests) == 1


def test_finished_is_not_believed() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("finished")
    outcome = bench.poll()
    assert outcome.state is StepState.WAITING
    assert outcome.findings[0].code == "not-at-destination"
    assert outcome.events[0].outcomes[0].outcome == "fail"
    assert bench.poll().state is StepState.WAITING
    assert bench.tape.submissions == [f"{AIP}:tape:1.1", f"{AIP}:tape:1.2"]


def test_finished_with_the_file_on_disk_only_waits_for_tape_without_another_copy() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("finished")
    path = bench.view.step.checkpoint["path"]
    bench.tape.places[path] = Residency(path, True, False, len(DATA), bench.package.checksums["adler32"])
    assert bench.poll().output["tape"]["waiting_for"] == "on-disk"
    bench.tape.places[path] = replace(bench.tape.places[path], on_tape=True)
    assert bench.poll().state is StepState.COMPLETED
    assert len(bench.tape.submissions) == 1


def test_a_file_that_never_reaches_tape_is_shown_to_a_person() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("failed", "ARCHIVING [110] archive timeout has been exceeded")
    path = bench.view.step.checkpoint["path"]
    bench.tape.places[path] = Residency(path, True, False, len(DATA), bench.package.checksums["adler32"])
    assert bench.poll().state is StepState.WAITING
    bench.clock.forward(days=15)
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "not-on-tape")
    assert len(bench.tape.submissions) == 1


def test_another_file_at_the_destination_is_never_overwritten() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("failed", "DESTINATION [17] Destination file exists and overwrite is not enabled")
    path = bench.view.step.checkpoint["path"]
    bench.tape.places[path] = Residency(path, True, True, 5, "00000001")
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "destination-differs")


def test_the_right_file_at_the_destination_is_success() -> None:
    bench = Bench()
    bench.run()
    path, adler32 = bench.view.step.checkpoint["path"], bench.package.checksums["adler32"]
    there = Residency(path, False, True, len(DATA), adler32)
    bench.job_is(
        "failed", "DESTINATION [17] Destination file exists and overwrite is not enabled", at_destination=there
    )
    bench.tape.places[path] = there
    outcome = bench.poll()
    assert outcome.state is StepState.COMPLETED
    assert "not copied again" in outcome.events[0].details[1]


def test_attempts_end() -> None:
    bench = Bench(tape_attempts=2)
    bench.run()
    bench.job_is("failed", "TRANSFER [110] Connection timed out", recoverable=True)
    assert bench.poll().state is StepState.WAITING
    assert bench.poll().state is StepState.WAITING
    bench.job_is("failed", "TRANSFER [110] Connection timed out", recoverable=True)
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "transfer-failed")
    assert "2 attempts" in str(outcome.message)


def test_a_damaged_source_asks_for_a_fixity_check() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("failed", "SOURCE [5] Source and user-defined ADLER32 checksum do not match (a != b)")
    outcome = bench.poll()
    assert outcome.error_code == "source-damaged"
    assert [fact.type for fact in outcome.facts] == ["org.perdura.fixity.requested.v1"]


def test_a_poll_that_fails_changes_nothing() -> None:
    bench = Bench()
    bench.run()
    before = bench.view.step.checkpoint
    bench.tape.down = True
    outcome = bench.poll()
    assert outcome.state is StepState.WAITING
    assert outcome.checkpoint == before
    assert outcome.events == ()


def test_a_refused_submission_of_a_later_round_needs_a_person() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("failed", "TRANSFER [110] Connection timed out", recoverable=True)
    bench.poll()
    bench.tape.refuse = FtsRefused("FTS answered 400: Missing host", 400)
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "fts-refused")


def test_a_later_attempt_of_the_step_finds_what_an_earlier_one_left() -> None:
    bench = Bench()
    path = f"{ARCHIVE}/{AIP}.tar"
    bench.tape.places[path] = Residency(path, False, True, len(DATA), bench.package.checksums["adler32"])
    bench.view = archive(bench.package, attempt=2)
    assert bench.run().state is StepState.COMPLETED
    assert bench.tape.submissions == []


def test_a_paused_destination_gets_no_new_jobs() -> None:
    bench = Bench(tape_paused=True)
    assert bench.run().output["tape"]["waiting_for"] == "tape-paused"
    assert bench.poll().output["tape"]["waiting_for"] == "tape-paused"
    assert bench.tape.submissions == []
    bench.ports = replace(bench.ports, settings=bench.ports.settings.model_copy(update={"tape_paused": False}))
    bench.poll()
    assert len(bench.tape.submissions) == 1


def test_a_fast_tape_system_completes_the_step_at_once() -> None:
    bench = Bench(tape_poll_seconds=1)
    original = bench.tape.jobs

    def jobs(ids: Any) -> Any:
        bench.tape.tick()
        return original(ids)

    bench.tape.jobs = jobs  # type: ignore[method-assign]
    assert bench.run().state is StepState.COMPLETED


def test_without_a_tape_system_the_step_says_so() -> None:
    store = PresigningStore()
    outcome = step.run(archive(aip(store, DATA)), ports(None, store))
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    assert outcome.findings[0].code == "no-tape-configured"
    assert outcome.events[0].outcomes[0].outcome == "warning"


def test_sizes_the_tape_system_refuses_are_refused_before() -> None:
    bench = Bench(tape_largest=10)
    assert bench.run().error_code == "size-refused-by-tape"
    with pytest.raises(Rejected):
        step.run(archive(None), bench.ports)


def test_an_aip_without_adler32_is_read_once() -> None:
    bench = Bench()
    package = replace(bench.package, checksums={})
    bench.view = archive(package)
    assert bench.run().checkpoint["adler32"] == bench.package.checksums["adler32"]  # type: ignore[index]


def test_many_are_polled_in_few_requests() -> None:
    bench = Bench()
    views = []
    for number in range(5):
        package = replace(bench.package, id=AIP.__class__(int=AIP.int + number))
        view = replace(archive(package), id=ARCHIVE.__class__(int=ARCHIVE.int + number))
        outcome = step.run(view, bench.ports)
        views.append(replace(view, step=replace(view.step, checkpoint=outcome.checkpoint or {})))
    calls: list[int] = []
    original = bench.tape.jobs

    def jobs(ids: Any) -> Any:
        calls.append(len(ids))
        return original(ids)

    bench.tape.jobs = jobs  # type: ignore[method-assign]
    bench.tape.tick()
    outcomes = step.poll(views, bench.ports)
    assert calls == [5]
    assert {outcome.state for _, outcome in outcomes} == {StepState.COMPLETED}


def test_the_gateway_is_the_source_when_there_is_one() -> None:
    bench = Bench(tape_gateway_url="https://gw.example.org:8443", tape_gateway_secret="s" * 32)
    bench.run()
    (request,) = bench.tape.requests.values()
    assert request.source_url == f"https://gw.example.org:8443/aips/{AIP}.tar"
    assert request.source_token
    assert request.verify_source
