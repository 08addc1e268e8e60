"""The archive step against a tape system in memory: one copy, proven, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from perdura.clients.fts_answers import FtsRefused, FtsUnreached
from perdura.clients.tape_endpoint import TapeRefused
from perdura.errors import Broken, Rejected, UpstreamUnavailable
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.packages.tape_container import Slot
from perdura.ports import ContainerFile, Ports, Residency, TapeJob, TapeOrder, TapeRetry, Wish
from perdura.steps import archive as step
from tests.unit.tape.fakes import (
    AIP,
    ARCHIVE,
    NOW,
    FakeClock,
    FakeTape,
    FakeTapeJobs,
    PresigningStore,
    aip,
    archive,
    ports,
)

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
    def jobs(self) -> FakeTapeJobs:
        found = self.ports.tape_jobs
        assert isinstance(found, FakeTapeJobs)
        return found

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


def test_the_job_is_noted_before_fts_is_asked() -> None:
    bench = Bench()
    bench.tape.down = True
    waiting = bench.run()
    assert waiting.output["tape"]["waiting_for"] == "fts-unavailable"
    assert waiting.findings[0].message == "FTS did not answer"
    assert list(bench.jobs.orders) == [f"{AIP}:tape:1.1"]


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


def test_failed_attempts_of_the_tape_system_are_kept_when_they_are_seen() -> None:
    bench = Bench()
    bench.run()
    first, second = (TapeRetry(n, NOW, "TRANSFER [110] Connection timed out", "node", f"/log/{n}") for n in (1, 2))
    bench.tape.failed[bench.job] = [first]
    bench.job_is("active", retries=1)
    bench.poll()
    bench.tape.failed[bench.job] = [first, second]
    bench.poll()
    key = bench.tape.submissions[0]
    assert bench.jobs.failed == {key: [first]}, "what was seen already is not asked for again"
    bench.job_is("failed", "TRANSFER [28] No space left on device", retries=2)
    bench.poll()
    assert bench.jobs.failed == {key: [first, second]}


def test_failed_attempts_that_cannot_be_asked_for_hold_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.run()
    bench.job_is("active", retries=1)

    def unanswered(_: TapeJob) -> list[TapeRetry]:
        raise UpstreamUnavailable("FTS did not answer")

    monkeypatch.setattr(bench.tape, "retries", unanswered)
    assert bench.poll().state is StepState.WAITING
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED


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

    def jobs(ids: Any, deadline: Any = None) -> Any:
        bench.tape.tick()
        return original(ids)

    bench.tape.jobs = jobs  # type: ignore[method-assign]
    assert bench.run().state is StepState.COMPLETED


@pytest.mark.parametrize(
    ("error", "paused"),
    [
        (TapeRefused("archiveinfo: 403 Forbidden: no right"), False),
        (FtsRefused("FTS answered 403: The user has been banned", 403, code="fts-banned"), True),
        (UpstreamUnavailable("FTS did not answer GET", code="fts-unavailable"), False),
    ],
)
def test_a_look_right_after_the_submission_that_is_refused_changes_nothing(error: Any, paused: bool) -> None:
    bench = Bench(tape_poll_seconds=1)

    def jobs(*_: Any) -> Any:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.tape, "jobs", jobs)
        outcome = bench.run()
    assert (outcome.state, outcome.output["tape"]["waiting_for"]) == (StepState.WAITING, error.code)
    assert bench.view.step.checkpoint["phase"] == "job"
    assert outcome.findings[0].message == error.message
    assert (bench.jobs.paused() is not None) is paused
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert len(bench.tape.submissions) == 1


def test_a_retry_while_the_endpoint_is_away_waits_and_then_looks_for_what_is_there() -> None:
    bench = Bench()
    bench.view = archive(bench.package, attempt=2)
    bench.tape.down = True
    assert bench.run().state is StepState.WAITING
    assert bench.poll().output["tape"]["waiting_for"] == "fts-unavailable"
    bench.tape.down = False
    path = f"{ARCHIVE}/{AIP}.tar"
    bench.tape.places[path] = Residency(path, False, True, len(DATA), bench.package.checksums["adler32"])
    assert bench.poll().state is StepState.COMPLETED
    assert bench.tape.submissions == []


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


def test_an_aip_without_adler32_is_read_in_as_many_invocations_as_it_takes() -> None:
    bench = Bench()
    data = bytes(range(256)) * (3 << 12)
    package = aip(bench.store, data)
    bench.view = archive(replace(package, checksums={}))
    stream, asked = bench.store.stream, []

    def noted(ref: Any, offset: int = 0, *more: Any) -> Any:
        asked.append(offset)
        return stream(ref, offset, *more)

    bench.store.stream = noted  # type: ignore[method-assign]
    bench.ports = replace(bench.ports, deadline=SimpleNamespace(near=lambda: True))
    outcomes = [bench.run()]
    while outcomes[-1].state is StepState.QUEUED:
        bench.view = replace(bench.view, step=replace(bench.view.step, checkpoint=outcomes[-1].checkpoint or {}))
        outcomes.append(bench.run())
    assert asked == [0, 1 << 20, 2 << 20]
    assert (outcomes[-1].checkpoint or {})["adler32"] == package.checksums["adler32"]
    assert all(outcome.state is StepState.QUEUED for outcome in outcomes[:-1])
    assert len(bench.tape.requests) == 1


def test_one_whose_package_is_gone_does_not_keep_the_others_waiting() -> None:
    bench = Bench()
    bench.run()
    bench.tape.tick()
    gone = replace(bench.view, id=UUID(int=77), packages=())
    outcomes = {view.id: outcome for view, outcome in step.poll([gone, bench.view], bench.ports)}
    assert (outcomes[gone.id].state, outcomes[gone.id].error_code) == (StepState.BLOCKED, "no-aip")
    assert outcomes[bench.view.id].state is StepState.COMPLETED


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

    def jobs(ids: Any, deadline: Any = None) -> Any:
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


def test_a_source_that_tells_no_checksum_is_not_asked_for_one() -> None:
    bench = Bench(tape_gateway_url="https://gw.example.org:8443", tape_gateway_secret="s" * 32)
    sums = {name: value for name, value in bench.package.checksums.items() if name != "adler32"}
    bench.view = archive(replace(bench.package, checksums=sums))
    bench.run()
    (request,) = bench.tape.requests.values()
    assert (request.verify_source, request.adler32) == (False, bench.package.checksums["adler32"])


def test_presigned_urls_go_only_to_an_fts_that_shows_them_to_nobody() -> None:
    bench = Bench(tape_fts_url="https://fts.example.org:8446")
    with pytest.raises(Broken, match="TAPE_GATEWAY_URL is not set"):
        bench.run()
    assert bench.jobs.in_flight == set(), "nothing was noted that nobody would ever end"
    for settings in ({"tape_fts_url": "https://127.0.0.1:8446"}, {"tape_presigned": True}):
        bench = Bench(**{"tape_fts_url": "https://fts.example.org:8446"} | settings)
        assert bench.run().state is StepState.WAITING


def test_no_more_jobs_than_allowed_are_in_flight() -> None:
    bench = Bench(tape_jobs_in_flight=1)
    bench.jobs.admit(TapeOrder("another", "p", 1, 3), 0)
    assert bench.run().output["tape"]["waiting_for"] == "tape-busy"
    assert bench.poll().output["tape"]["waiting_for"] == "tape-busy"
    assert bench.tape.submissions == []
    bench.jobs.seen({}, ["another"])
    assert bench.poll().output["tape"]["waiting_for"] == "submitted"
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert bench.jobs.in_flight == set()


def test_a_person_pauses_and_resumes_the_destination() -> None:
    bench = Bench()
    bench.jobs.pause = "paused by Ada: new drives"
    waiting = bench.run()
    assert waiting.output["tape"]["waiting_for"] == "tape-paused"
    assert waiting.findings[0].message == "paused by Ada: new drives"
    assert bench.tape.submissions == []
    bench.jobs.pause = None
    bench.poll()
    assert len(bench.tape.submissions) == 1


@pytest.mark.parametrize(("container", "ending"), [("7z", "7z"), ("tar.gz", "tar.gz"), ("tar", "tar"), ("?", "tar")])
def test_a_file_on_tape_is_named_after_what_it_is(container: str, ending: str) -> None:
    bench = Bench()
    bench.view = archive(replace(bench.package, container=container))
    bench.run()
    assert [request.destination_path for request in bench.tape.requests.values()] == [f"{ARCHIVE}/{AIP}.{ending}"]


def test_a_retry_finds_the_copy_that_was_named_tar_whatever_it_is() -> None:
    bench = Bench()
    path = f"{ARCHIVE}/{AIP}.tar"
    bench.tape.places[path] = Residency(path, False, True, len(DATA), bench.package.checksums["adler32"])
    bench.view = archive(replace(bench.package, container="7z"), attempt=2)
    outcome = bench.run()
    assert (outcome.state, outcome.copies[0].uri) == (StepState.COMPLETED, bench.tape.uri(path))
    assert bench.tape.submissions == []


def test_an_uncompressed_aip_is_refused_with_what_to_do() -> None:
    bench = Bench()
    bench.view = archive(replace(bench.package, key="aips/one/", container="prefix", checksums={}, version_id=None))
    outcome = bench.run()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "uncompressed-aip")
    assert "Select compression algorithm" in str(outcome.message)
    assert bench.tape.submissions == []


def test_a_person_cancels_a_job_and_may_try_again_later() -> None:
    bench = Bench()
    bench.run()
    bench.jobs.wished[f"{AIP}:tape:1.1"] = Wish(cancelled_by="Ada")
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "cancelled-on-request")
    assert (outcome.message or "").startswith("Ada cancelled the job")
    assert outcome.events[0].outcomes[0].outcome == "fail"
    assert bench.jobs.in_flight == set()
    bench.view = archive(bench.package, attempt=2)
    assert bench.run().state is StepState.WAITING
    assert bench.tape.submissions == [f"{AIP}:tape:1.1", f"{AIP}:tape:2.1"]


def test_a_job_that_fts_does_not_show_is_not_asked_for_again() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("withheld", "403 Forbidden: not enough permissions")
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "job-withheld")
    assert "403 Forbidden" in (outcome.message or "")
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_a_job_that_fts_does_not_show_counts_when_its_file_is_on_tape() -> None:
    bench = Bench()
    bench.run()
    bench.tape.tick()
    bench.job_is("withheld", "403 Forbidden: not enough permissions")
    assert bench.poll().state is StepState.COMPLETED


def test_a_job_about_which_fts_errs_is_looked_at_later() -> None:
    bench = Bench()
    bench.run()
    bench.job_is("untold", "FTS answered 502")
    outcome = bench.poll()
    assert (outcome.state, bench.view.step.checkpoint["looks"]) == (StepState.WAITING, 1)
    assert outcome.findings[0].message == "FTS does not say how the job is: FTS answered 502"
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_a_retry_follows_the_job_that_is_still_alive() -> None:
    bench = Bench()
    bench.run()
    bench.view = archive(bench.package, attempt=2)
    assert bench.run().state is StepState.WAITING
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"], "two jobs would write to one destination"
    assert bench.poll().state is StepState.WAITING
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert bench.jobs.in_flight == set()


def test_a_retry_asks_for_a_job_of_its_own_when_the_one_it_followed_fails() -> None:
    bench = Bench()
    bench.run()
    bench.view = archive(bench.package, attempt=2)
    bench.run()
    bench.job_is("failed", "TRANSFER [110] Connection timed out", recoverable=True)
    assert bench.poll().state is StepState.WAITING
    assert bench.poll().state is StepState.WAITING
    assert bench.tape.submissions == [f"{AIP}:tape:1.1", f"{AIP}:tape:2.2"]
    bench.view = archive(bench.package, attempt=3)
    bench.run()
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert bench.tape.submissions[2:] == []


def test_a_retry_asks_again_for_the_job_whose_answer_was_lost() -> None:
    bench = Bench()
    bench.tape.down = True
    bench.run()
    bench.tape.down = False
    bench.view = archive(bench.package, attempt=2)
    bench.run()
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"], "the key that FTS may know already"


def moved_away(bench: Bench) -> None:
    """The settings name another FTS, which knows nothing of our jobs."""
    bench.tape.server = "https://other.example.org:8446"
    bench.tape.states.clear()
    bench.tape.lost = None


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_job_whose_answer_was_lost_is_not_asked_of_another_fts_too(attempt: int) -> None:
    bench = Bench()
    bench.tape.lost = UpstreamUnavailable("FTS did not answer POST", code="fts-unavailable")
    assert bench.run().state is StepState.WAITING
    moved_away(bench)
    if attempt == 2:
        bench.view = archive(bench.package, attempt=2)
        bench.run()
    else:
        bench.poll()
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "other-fts-account")
    assert "was asked of https://fts.example.org:8446 as /CN=robot" in (outcome.message or "")
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_a_job_whose_answer_was_lost_counts_when_the_other_fts_did_it() -> None:
    bench = Bench()
    bench.tape.lost = UpstreamUnavailable("FTS did not answer POST", code="fts-unavailable")
    bench.run()
    bench.tape.tick()
    moved_away(bench)
    bench.poll()
    assert bench.poll().state is StepState.COMPLETED


def in_another_vo(bench: Bench) -> str:
    """An answer was lost, and then FTS has us in another VO: gives back the id that the job may have."""
    bench.tape.lost = UpstreamUnavailable("FTS did not answer POST", code="fts-unavailable")
    assert bench.run().state is StepState.WAITING
    bench.tape.lost, bench.tape.vo = None, "archives"
    (job,) = bench.tape.requests
    assert job != bench.tape.job_id(f"{AIP}:tape:1.1")
    return job


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_job_whose_answer_was_lost_is_followed_when_we_are_in_another_vo_since(attempt: int) -> None:
    bench = Bench()
    job = in_another_vo(bench)
    if attempt == 2:
        bench.view = archive(bench.package, attempt=2)
        bench.run()
    else:
        bench.poll()
    assert bench.view.step.checkpoint["job"] == job
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_a_job_that_our_new_vo_may_not_see_gets_no_second_one_beside_it() -> None:
    bench = Bench()
    bench.tape.hidden.add(in_another_vo(bench))
    bench.poll()
    outcome = bench.poll()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "job-withheld")
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_a_job_that_never_came_about_is_asked_for_in_our_new_vo_after_a_while_only() -> None:
    bench = Bench()
    job = in_another_vo(bench)
    del bench.tape.states[job], bench.tape.requests[job]
    bench.jobs.asked_ago = 20
    outcome = bench.poll()
    assert outcome.output["tape"]["waiting_for"] == "tape-asked-just-now"
    assert job in outcome.findings[0].message
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]
    bench.jobs.asked_ago = 400
    bench.poll()
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"] * 2
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert len(bench.tape.requests) == 1


def test_while_fts_does_not_say_whether_the_job_of_our_old_vo_is_there_none_is_asked_for() -> None:
    bench = Bench()
    in_another_vo(bench)
    bench.tape.down = True
    for _ in range(3):
        assert bench.poll().state is StepState.WAITING
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def test_what_never_left_is_asked_of_whatever_fts_there_is() -> None:
    bench = Bench()
    bench.tape.lost = FtsUnreached("FTS did not answer POST /jobs: ConnectError")
    assert bench.run().output["tape"]["waiting_for"] == "fts-unavailable"
    moved_away(bench)
    bench.poll()
    bench.tape.tick()
    assert bench.poll().state is StepState.COMPLETED
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"] * 2


def test_what_may_have_left_before_is_not_forgotten_when_fts_is_unreached_later() -> None:
    bench = Bench()
    bench.tape.lost = UpstreamUnavailable("FTS did not answer POST", code="fts-unavailable")
    bench.run()
    bench.tape.lost = FtsUnreached("FTS did not answer POST /jobs: ConnectError")
    bench.poll()
    moved_away(bench)
    bench.poll()
    assert bench.poll().error_code == "other-fts-account"


def test_a_retry_follows_the_job_of_its_container() -> None:
    bench = Bench(**GROUPING)
    container = UUID("0198f000-0000-7000-8000-000000000001")
    path, key = f"containers/{container}.tar", f"{container}:tape:3"
    bench.jobs.slots[AIP] = ContainerFile(Slot(container, 1536, len(DATA)), path, 5000, "0a0b0c0d")
    bench.jobs.admit(TapeOrder(key, path, 5000, 3, container=container), 0)
    bench.jobs.accepted(key, "job-of-the-container", bench.tape.account())
    bench.tape.states["job-of-the-container"] = TapeJob("job-of-the-container", "active")
    bench.view = archive(bench.package, attempt=2)
    assert bench.run().state is StepState.WAITING
    assert bench.tape.submissions == []
    bench.tape.places[path] = Residency(path, False, True, 5000, "0a0b0c0d")
    bench.tape.states["job-of-the-container"] = TapeJob("job-of-the-container", "finished")
    outcome = bench.poll()
    assert outcome.state is StepState.COMPLETED
    assert outcome.copies[0].uri.endswith(f"{path}#offset=1536&length={len(DATA)}")


def test_a_job_that_was_done_before_it_was_cancelled_counts() -> None:
    bench = Bench()
    bench.run()
    bench.tape.tick()
    bench.jobs.wished[f"{AIP}:tape:1.1"] = Wish(cancelled_by="Ada")
    assert bench.poll().state is StepState.COMPLETED


def test_another_priority_is_set_once() -> None:
    bench = Bench()
    bench.run()
    bench.jobs.wished[f"{AIP}:tape:1.1"] = Wish(priority=5)
    assert bench.poll().state is StepState.WAITING
    assert bench.tape.priorities == {bench.job: 5}
    assert bench.jobs.wished == {}


GROUPING = {"tape_group_below": 10**6, "tape_gateway_url": "https://gateway", "tape_gateway_secret": "s" * 32}


def test_a_small_aip_waits_for_company_and_goes_alone_when_none_comes() -> None:
    bench = Bench(**GROUPING)
    bench.package = replace(bench.package, checksums={**bench.package.checksums, "sha512": "0" * 128})
    bench.view = archive(bench.package)
    waiting = bench.run()
    assert waiting.output["tape"]["waiting_for"] == "tape-group"
    assert waiting.poll_at == bench.clock.now() + timedelta(hours=1)
    assert bench.poll().output["tape"]["waiting_for"] == "submitted"
    assert bench.tape.submissions == [f"{AIP}:tape:1.1"]


def in_container(bench: Bench, number: int, container: UUID) -> ArchiveView:
    """An Archive whose AIP was put into a container."""
    package = replace(bench.package, id=UUID(int=number))
    checkpoint = {
        "aip": str(package.id), "path": f"containers/{container}.tar", "size": 5000, "adler32": "0a0b0c0d",
        "phase": "submit", "round": 1, "job": None, "looks": 0, "complaints": 0, "on_disk_since": None,
        "slot": [str(container), 1536 + number, package.size],
    }  # fmt: skip
    view = archive(package, checkpoint=checkpoint)
    return replace(view, id=UUID(int=number + 100))


def test_the_aips_of_a_container_share_one_job_and_each_is_told() -> None:
    bench = Bench(**GROUPING)
    container = UUID("0198f000-0000-7000-8000-000000000001")
    views = [in_container(bench, number, container) for number in range(3)]
    outcomes = step.poll(views, bench.ports)
    assert bench.tape.submissions == [f"{container}:tape:1"]
    (request,) = bench.tape.requests.values()
    assert request.source_url == f"https://gateway/containers/{container}.tar"
    assert (request.size, request.adler32) == (5000, "0a0b0c0d")
    path = f"containers/{container}.tar"
    (job,) = bench.tape.states
    bench.tape.states[job] = TapeJob(job, "finished")
    bench.tape.places[path] = Residency(path, False, True, 5000, "0a0b0c0d")
    views = [replace(v, step=replace(v.step, checkpoint=o.checkpoint or {})) for v, o in outcomes]
    for number, (_, outcome) in enumerate(step.poll(views, bench.ports)):
        assert outcome.state is StepState.COMPLETED
        (copy,) = outcome.copies
        assert copy.uri.endswith(f"/{path}#offset={1536 + number}&length={len(DATA)}")
        assert (copy.size, copy.checksums["adler32"]) == (len(DATA), bench.package.checksums["adler32"])
        assert str(container) in outcome.events[0].details[0]


def test_a_later_attempt_finds_the_container_that_reached_tape_after_all() -> None:
    bench = Bench(**GROUPING)
    container = UUID("0198f000-0000-7000-8000-000000000001")
    path = f"containers/{container}.tar"
    bench.jobs.slots[AIP] = ContainerFile(Slot(container, 1536, len(DATA)), path, 5000, "0a0b0c0d")
    bench.tape.places[path] = Residency(path, False, True, 5000, "0a0b0c0d")
    bench.view = archive(bench.package, attempt=2)
    outcome = bench.run()
    assert outcome.state is StepState.COMPLETED
    assert bench.tape.submissions == []


@pytest.mark.parametrize("how", ["unavailable", "left out"])
@pytest.mark.parametrize("there", [True, False])
def test_a_later_attempt_makes_no_copy_before_the_endpoint_says_where_the_container_is(how: str, there: bool) -> None:
    bench = Bench(**GROUPING)
    container = UUID("0198f000-0000-7000-8000-000000000001")
    path = f"containers/{container}.tar"
    bench.jobs.slots[AIP] = ContainerFile(Slot(container, 1536, len(DATA)), path, 5000, "0a0b0c0d")
    original = bench.tape.residency

    def residency(paths: Any, deadline: Any = None) -> Any:
        said = {name: found for name, found in original(paths).items() if name != path}
        unavailable = {path: Residency(path, False, False, None, None, "UNAVAILABLE")}
        return said | (unavailable if how == "unavailable" else {})

    bench.view = archive(bench.package, attempt=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.tape, "residency", residency)
        outcome = bench.run()
        assert (outcome.state, outcome.output["tape"]["waiting_for"]) == (StepState.WAITING, "residency-unknown")
        assert path in outcome.findings[0].message
        assert bench.poll().state is StepState.WAITING
        assert bench.view.step.checkpoint["looks"] == 2
    assert bench.tape.submissions == []
    if there:
        bench.tape.places[path] = Residency(path, False, True, 5000, "0a0b0c0d")
        assert bench.poll().state is StepState.COMPLETED
        assert bench.tape.submissions == []
    else:
        assert bench.poll().state is StepState.WAITING
        assert bench.tape.submissions == [f"{AIP}:tape:2.1"]


def test_a_submission_that_fts_cannot_store_does_not_keep_others_waiting() -> None:
    bench = Bench()
    views = [in_container(bench, number, UUID(int=number + 50)) for number in range(2)]
    bench.ports = replace(bench.ports, settings=ports(None, None, **GROUPING).settings)
    bench.tape.refuse = UpstreamUnavailable("FTS answered 500", code="fts-internal-error")
    outcomes = step.poll(views, bench.ports)
    assert len(bench.tape.submissions) == 2
    assert [outcome.output["tape"]["waiting_for"] for _, outcome in outcomes] == ["fts-internal-error"] * 2


def test_a_container_that_fts_refuses_is_asked_for_once() -> None:
    bench = Bench()
    container = UUID(int=50)
    views = [in_container(bench, number, container) for number in range(3)]
    bench.ports = replace(bench.ports, settings=ports(None, None, **GROUPING).settings)
    bench.tape.refuse = FtsRefused("FTS answered 400: no such storage", 400)
    outcomes = step.poll(views, bench.ports)
    assert len(bench.tape.submissions) == 1
    assert [outcome.state for _, outcome in outcomes] == [StepState.BLOCKED] * 3
    assert bench.jobs.in_flight == set()


def test_where_fts_does_not_answer_the_others_are_not_tried() -> None:
    bench = Bench(tape_paused=True)
    bench.run()
    bench.ports = replace(bench.ports, settings=bench.ports.settings.model_copy(update={"tape_paused": False}))
    bench.tape.refuse = UpstreamUnavailable("FTS did not answer", code="fts-unavailable")
    other = replace(bench.view, id=UUID(int=7))
    outcomes = step.poll([bench.view, other], bench.ports)
    assert [outcome.output["tape"]["waiting_for"] for _, outcome in outcomes] == ["fts-unavailable"] * 2
    assert len(bench.tape.submissions) == 1
