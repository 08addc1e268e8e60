"""Bringing AIPs and single files back from tape, and rehearsing it."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from perdura.clients.tape_endpoint import TapeRefused
from perdura.errors import Broken, NotFound, NotStored, Rejected, StoreUnavailable, UpstreamUnavailable
from perdura.outcome import ArchiveView, Copy, CopyState, Outcome, StepState
from perdura.packages import long_digest
from perdura.packages.aip_index import SCHEMA
from perdura.ports import Staging
from perdura.steps import recall as step
from perdura.steps import recall_reading
from perdura.storage import kept_open
from tests.unit.tape.fakes import AIP, ARCHIVE, FakeClock, FakeTape, PresigningStore, aip, archive, ports

DATA = bytes(range(256)) * 100
PATH = f"{ARCHIVE}/{AIP}.tar"


LARGE = bytes(range(251)) * 400
PART = 128 * 60


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few kilobytes instead of many megabytes."""
    monkeypatch.setattr(kept_open, "_SMALLEST_PART", PART)
    monkeypatch.setattr(recall_reading, "UNKEPT", PART)


def json_round(view: ArchiveView) -> ArchiveView:
    """The Archive as it comes back from the registry."""
    return replace(view, step=replace(view.step, checkpoint=json.loads(json.dumps(view.step.checkpoint))))


class Bench:
    """An Archive whose AIP is on tape."""

    def __init__(self, data: bytes = DATA, **step_input: Any) -> None:
        self.store = PresigningStore()
        self.tape = FakeTape()
        self.tape.files[PATH] = data
        package = aip(self.store, data if len(data) > len(DATA) else DATA)
        nothing = hashlib.sha256().hexdigest()
        index = [
            f'{{"schema":"{SCHEMA}","aip":"a","archive":"b","base":"b","size":{len(DATA)},"checksums":{{}},"members":2}}',
            f'{{"path":"data/empty.bin","offset":1536,"size":0,"sha256":"{nothing}",'
            f'"sha512":"{hashlib.sha512().hexdigest()}","adler32":"00000001"}}',
            f'{{"path":"data/one.bin","offset":512,"size":1000,"sha256":"{hashlib.sha256(DATA[512:1512]).hexdigest()}",'
            f'"sha512":"{hashlib.sha512(DATA[512:1512]).hexdigest()}","adler32":"{zlib.adler32(DATA[512:1512]):08x}"}}',
        ]
        self.store.put("perdura-aips", "index", "\n".join(index).encode())
        self.clock = FakeClock()
        self.ports = ports(self.tape, self.store, clock=self.clock)
        view = archive(replace(package, index_key="index"), name="recall", input=step_input)
        copy = Copy(AIP, "tape", f"davs://tape.example.org/perdura/{PATH}", len(DATA), {"adler32": "x"})
        self.view: ArchiveView = replace(view, copies=(copy,))

    def run(self) -> Outcome:
        return self._took(step.run(self.view, self.ports))

    def _took(self, outcome: Outcome) -> Outcome:
        if outcome.checkpoint is not None:
            self.view = replace(self.view, step=replace(self.view.step, checkpoint=outcome.checkpoint))
        return outcome

    def expects(self, data: bytes) -> None:
        """The registry holds the checksums of other bytes."""
        package = replace(self.view.packages[0], checksums=aip(PresigningStore(), data).checksums)
        self.view = replace(self.view, packages=(package,))

    def staging(self, *answers: Staging) -> None:
        """What the tape system says of the file at the next looks."""
        left = list(answers)
        self.tape.staged = lambda request: {PATH: left.pop(0)}  # type: ignore[method-assign]


def test_the_whole_aip_comes_back_and_is_compared_with_the_registry() -> None:
    bench = Bench()
    outcome = bench.run()
    assert outcome.state is StepState.COMPLETED
    found = outcome.output["recall"]
    assert bench.store.read(bench.store.head(found["bucket"], found["key"]).ref) == DATA
    assert outcome.facts[0].type == "org.perdura.aip.recalled.v1"
    assert outcome.copies[0].verified_at == bench.clock.now()
    assert [event.type for event in outcome.events] == ["recovery", "fixity check"]
    assert bench.tape.released == [PATH]


def test_the_version_in_use_is_recalled_or_the_one_that_is_asked_for() -> None:
    bench = Bench()
    used, older, newer = bench.view.packages[0], UUID(int=1), UUID(int=2)
    others = [replace(used, id=each, accepted=False) for each in (older, newer)]
    copies = [Copy(each, "tape", f"davs://t/{ARCHIVE}/{each}.tar", len(DATA), {}) for each in (AIP, older, newer)]
    bench.view = replace(bench.view, packages=(others[0], used, others[1]), copies=tuple(copies))
    for each in (older, newer):
        bench.tape.files[f"{ARCHIVE}/{each}.tar"] = DATA
    assert bench.run().copies[0].package_id == AIP
    for asked in (older, newer):
        view = replace(bench.view.step, input={"package": str(asked)}, checkpoint={})
        assert step.run(replace(bench.view, step=view), bench.ports).copies[0].package_id == asked
    unknown = replace(bench.view.step, input={"package": str(UUID(int=3))}, checkpoint={})
    with pytest.raises(Rejected, match="no copy"):
        step.run(replace(bench.view, step=unknown), bench.ports)


@pytest.mark.parametrize("ending", ["7z", "tar"])
def test_a_compressed_aip_comes_back_from_whatever_name_it_has_on_tape(ending: str) -> None:
    bench = Bench()
    path = f"{ARCHIVE}/{AIP}.{ending}"
    copy = replace(bench.view.copies[0], uri=bench.tape.uri(path))
    bench.tape.files = {path: DATA}
    bench.view = replace(bench.view, packages=(replace(bench.view.packages[0], container="7z"),), copies=(copy,))
    outcome = bench.run()
    assert outcome.output["recall"]["key"] == f"recalled/{ARCHIVE}/{AIP}.7z"
    assert bench.tape.released == [path]


def test_a_recall_stays_with_the_version_it_began_with() -> None:
    bench = Bench()
    bench.staging(Staging(False), Staging(True))
    assert bench.run().state is StepState.WAITING
    used, newer = bench.view.packages[0], UUID(int=2)
    packages = (replace(used, accepted=False), replace(used, id=newer))
    copy = Copy(newer, "tape", f"davs://t/{ARCHIVE}/{newer}.tar", len(DATA), {})
    bench.view = replace(bench.view, packages=packages, copies=(*bench.view.copies, copy))
    assert bench.run().copies[0].package_id == AIP


def test_staging_takes_time() -> None:
    bench = Bench()
    bench.staging(Staging(False), Staging(False), Staging(True))
    assert bench.run().state is StepState.WAITING
    assert bench.run().state is StepState.WAITING
    assert bench.run().state is StepState.COMPLETED
    assert len(bench.tape.staged_before) == 1


def test_one_file_is_read_by_range() -> None:
    bench = Bench(file="data/one.bin")
    outcome = bench.run()
    found = outcome.output["recall"]
    assert bench.store.read(bench.store.head(found["bucket"], found["key"]).ref) == DATA[512:1512]
    assert found["key"].endswith("/data/one.bin")
    assert outcome.copies == ()


def test_a_drill_keeps_nothing_and_renews_the_copys_proof() -> None:
    bench = Bench(drill=True)
    outcome = bench.run()
    assert outcome.state is StepState.COMPLETED
    assert outcome.copies[0].verified_at == bench.clock.now()
    assert list(bench.store.list("perdura-dips", "")) == []


def test_bytes_that_are_not_what_was_archived_are_not_kept() -> None:
    bench = Bench(b"x" + DATA[1:])
    assert bench.run().state is StepState.QUEUED
    outcome = bench.run()
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "fixity-mismatch")
    assert list(bench.store.list("perdura-dips", "")) == []
    assert outcome.facts[0].type == "org.perdura.fixity.failed.v1"
    assert outcome.facts[0].data["location"] == "tape"
    assert [copy.state for copy in outcome.copies] == [CopyState.DAMAGED]


@pytest.mark.parametrize("drill", [False, True])
@pytest.mark.parametrize("change", ["short", "shifted", "spoilt"])
def test_one_bad_answer_does_not_condemn_a_good_copy(change: str, drill: bool) -> None:
    bench = Bench(drill=drill)
    read = bench.tape.read

    def bad_once(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        bench.tape.read = read  # type: ignore[method-assign]
        yield {"short": DATA[: len(DATA) // 2], "shifted": b"x" + DATA[:-1], "spoilt": DATA[:-1] + b"x"}[change]

    bench.tape.read = bad_once  # type: ignore[method-assign]
    first, second = bench.run(), bench.run()
    assert (first.state, first.copies, first.events, first.facts) == (StepState.QUEUED, (), (), ())
    assert second.state is StepState.COMPLETED
    assert [copy.state for copy in second.copies] == [CopyState.HELD]


def test_a_file_that_is_shorter_on_tape_is_damaged() -> None:
    bench = Bench(DATA[:-1])
    assert bench.run().state is StepState.QUEUED
    outcome = bench.run()
    assert (outcome.error_code, [copy.state for copy in outcome.copies]) == ("fixity-mismatch", [CopyState.DAMAGED])
    assert f"{len(DATA) - 1} bytes, not {len(DATA)}" in outcome.message


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("drill", [False, True])
@pytest.mark.parametrize("size", [PART * 3, PART * 3 + 1])
def test_no_more_is_taken_than_was_asked_for(size: int, drill: bool) -> None:
    """An endless answer ends the reading, also where the parts of the upload are just full."""
    bench = Bench(LARGE[:size], drill=drill)
    taken = itertools.count()

    def endless(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        yield LARGE[offset : offset + (length or 0)]
        while True:
            assert next(taken) < 100
            yield bytes(1000)

    bench.tape.read = endless  # type: ignore[method-assign]
    outcomes = [bench.run()]
    while outcomes[-1].state in (StepState.WAITING, StepState.QUEUED):
        outcomes.append(bench.run())
    assert (outcomes[-1].state, outcomes[-1].error_code) == (StepState.BLOCKED, "staging-failed")
    assert all(outcome.copies == () for outcome in outcomes)
    assert list(bench.store.list("perdura-dips", "")) == []


def test_a_file_lost_on_tape_is_shown_to_a_person() -> None:
    bench = Bench()
    bench.staging(Staging(False, "the file is lost on tape"))
    outcome = bench.run()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "lost-on-tape")
    assert outcome.facts[0].data["found"] == {}
    assert [(copy.package_id, copy.state) for copy in outcome.copies] == [(AIP, CopyState.LOST)]


def test_a_copy_that_was_lost_counts_again_once_it_was_read_whole() -> None:
    bench = Bench(drill=True)
    bench.view = replace(bench.view, copies=(replace(bench.view.copies[0], state=CopyState.LOST),))
    assert [copy.state for copy in bench.run().copies] == [CopyState.HELD]


def test_a_copy_that_was_made_again_is_recalled_from_its_own_place() -> None:
    bench = Bench()
    path = f"{ARCHIVE}/{AIP}-2.tar"
    bench.tape.files = {path: DATA}
    bench.view = replace(bench.view, copies=(replace(bench.view.copies[0], uri=bench.tape.uri(path)),))
    assert bench.run().state is StepState.COMPLETED
    assert bench.tape.released == [path]


def test_another_version_is_never_recalled_in_place_of_the_one_in_use() -> None:
    bench = Bench()
    older = replace(bench.view.packages[0], accepted=False)
    bench.view = replace(bench.view, packages=(older, replace(older, id=UUID(int=2), accepted=True)))
    with pytest.raises(Rejected, match="AIP in use"):
        bench.run()


def test_a_failed_stage_request_is_made_again_a_few_times() -> None:
    bench = Bench()
    bench.staging(*[Staging(False, "drive failure")] * 3)
    assert bench.run().state is StepState.WAITING
    assert bench.run().state is StepState.WAITING
    outcome = bench.run()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "staging-failed")
    assert len(bench.tape.staged_before) == 3


def test_no_stage_request_is_left_behind() -> None:
    bench = Bench()
    bench.staging(*[Staging(False, "drive failure")] * 3)
    for _ in range(3):
        bench.run()
    assert bench.tape.stages == {}
    bench = Bench()
    bench.staging(Staging(False, "the file is lost on tape"))
    bench.run()
    assert bench.tape.stages == {}


def test_a_stage_request_of_which_nothing_is_told_is_not_lost() -> None:
    """It was made in this very run, and the endpoint refuses to say how far it is."""
    bench = Bench()

    def refused(_: str) -> Any:
        raise TapeRefused("the tape endpoint answered 403")

    bench.tape.staged = refused  # type: ignore[method-assign]
    outcome = bench.run()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "tape-refused")
    assert (outcome.checkpoint or {})["request"] in bench.tape.stages
    del bench.tape.staged
    assert bench.run().state is StepState.COMPLETED
    assert len(bench.tape.staged_before) == 1


def test_a_file_that_is_not_staged_in_time_is_staged_anew() -> None:
    bench = Bench()
    bench.staging(*[Staging(False)] * 2)
    assert bench.run().output["recall"]["waiting_for"] == "staging"
    bench.clock.forward(days=15)
    outcome = bench.run()
    assert outcome.output["recall"]["waiting_for"] == "staging-again"
    assert outcome.findings[0].message == "the file was not staged in time"


def test_a_forgotten_stage_request_is_made_again() -> None:
    bench = Bench()
    bench.staging(Staging(False))
    bench.run()
    del bench.tape.staged
    bench.tape.stages.clear()
    assert bench.run().output["recall"]["waiting_for"] == "staging-again"
    assert bench.run().state is StepState.COMPLETED


def test_a_look_that_fails_changes_nothing() -> None:
    bench = Bench()
    bench.staging(Staging(False))
    before = dict(bench.run().checkpoint or {})
    del bench.tape.staged
    bench.tape.down = True
    failed = bench.run()
    assert failed.state is StepState.WAITING
    assert {**(failed.checkpoint or {}), "looks": 0} == {**before, "looks": 0}
    assert failed.findings[0].message == "FTS did not answer"


def test_a_store_that_does_not_answer_makes_a_recall_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    def unanswered(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the object store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "put", unanswered)
        waiting = [bench.run() for _ in range(20)]
    assert {outcome.state for outcome in waiting} == {StepState.WAITING}
    assert waiting[-1].output["recall"]["waiting_for"] == "store-unavailable"
    assert len(bench.tape.staged_before) == 1
    assert bench.run().state is StepState.COMPLETED


def test_a_reading_that_breaks_off_is_done_again_and_then_staged_anew() -> None:
    bench = Bench()
    read = bench.tape.read

    def broken(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        yield b"x"
        raise UpstreamUnavailable("broke off")

    bench.tape.read = broken  # type: ignore[method-assign]
    assert [bench.run().output["recall"]["waiting_for"] for _ in range(3)] == [
        "reading-again", "reading-again", "staging-again",
    ]  # fmt: skip
    assert list(bench.store.list("perdura-dips", "")) == []
    bench.tape.read = read  # type: ignore[method-assign]
    assert bench.run().state is StepState.COMPLETED
    assert len(bench.tape.staged_before) == 2


def hurried(bench: Bench, looks: int) -> None:
    """Every invocation ends after so many looks at the time."""
    seen = itertools.count(1)
    bench.ports = replace(bench.ports, deadline=SimpleNamespace(near=lambda: next(seen) % looks == 0))


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("drill", [False, True])
def test_a_file_larger_than_an_invocation_is_read_on_where_it_stopped(drill: bool) -> None:
    bench = Bench(LARGE, drill=drill)
    hurried(bench, 20)
    read = bench.tape.read
    asked: list[int] = []

    def noted(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        asked.append(offset)
        return read(path, offset, length)

    bench.tape.read = noted  # type: ignore[method-assign]
    outcome = bench.run()
    while outcome.state is StepState.QUEUED:
        bench.view = json_round(bench.view)
        outcome = bench.run()
    assert outcome.state is StepState.COMPLETED, outcome
    assert len(asked) > 4
    assert asked == sorted(set(asked)), "nothing before the last whole part is read twice"
    assert all(offset % PART == 0 for offset in asked)
    assert len(bench.tape.staged_before) == 1
    if drill:
        assert list(bench.store.list("perdura-dips", "")) == []
    else:
        found = outcome.output["recall"]
        assert bench.store.read(bench.store.head(found["bucket"], found["key"]).ref) == LARGE


@pytest.mark.usefixtures("parts")
def test_a_reading_that_breaks_off_goes_on_after_the_last_whole_part() -> None:
    bench = Bench(LARGE)
    read = bench.tape.read

    def breaking(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        yield from itertools.islice(read(path, offset, length), 20)
        if len(LARGE) - offset > 20_000:
            raise UpstreamUnavailable("broke off")

    bench.tape.read = breaking  # type: ignore[method-assign]
    outcomes = [bench.run() for _ in range(7)]
    assert [outcome.state for outcome in outcomes] == [StepState.WAITING] * 6 + [StepState.COMPLETED]
    assert len(bench.tape.staged_before) == 1, "a reading that gets on is not staged anew"


@pytest.mark.usefixtures("parts")
def test_a_difference_found_by_continued_digests_is_read_once_more_before_it_is_believed() -> None:
    bench = Bench(LARGE[:-1] + b"x")
    bench.expects(LARGE)
    hurried(bench, 60)
    read = bench.tape.read
    asked: list[int] = []

    def noted(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        asked.append(offset)
        return read(path, offset, length)

    bench.tape.read = noted  # type: ignore[method-assign]
    while (outcome := bench.run()).state is StepState.QUEUED:
        pass
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "fixity-mismatch")
    assert asked.count(0) == 2
    assert list(bench.store.list("perdura-dips", "")) == []
    assert bench.store.uploads._parts == {}, "nothing is left behind"


@pytest.mark.usefixtures("parts")
def test_a_recall_begins_anew_when_the_store_has_forgotten_the_upload() -> None:
    bench = Bench(LARGE)
    hurried(bench, 60)
    assert bench.run().state is StepState.QUEUED
    bench.store.uploads._parts.clear()
    hurried(bench, 1000)
    again = bench.run()
    assert (again.state, (again.checkpoint or {})["reading"]["offset"]) == (StepState.QUEUED, 0)
    assert bench.run().state is StepState.COMPLETED


@pytest.mark.usefixtures("parts")
def test_a_store_that_fails_does_not_lose_what_earlier_invocations_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(LARGE)
    hurried(bench, 40)
    assert bench.run().state is StepState.QUEUED
    reached = bench.view.step.checkpoint["reading"]
    assert reached["offset"] >= PART

    def fails(*_: object) -> None:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as away:
        away.setattr(bench.store.uploads, "put_part", fails)
        outcome = bench.run()
    assert outcome.state is StepState.WAITING
    assert (outcome.checkpoint or {})["reading"] == reached
    hurried(bench, 1000)
    assert bench.run().state is StepState.COMPLETED


def test_a_staged_file_that_is_gone_is_staged_again_and_then_shown_to_a_person() -> None:
    bench = Bench()

    def gone(path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        raise NotStored("the tape endpoint has no such file")
        yield b""

    bench.tape.read = gone  # type: ignore[method-assign]
    outcomes = []
    while not outcomes or outcomes[-1].state is StepState.WAITING:
        outcomes.append(bench.run())
    assert (outcomes[-1].state, outcomes[-1].error_code) == (StepState.BLOCKED, "staging-failed")
    assert len(bench.tape.staged_before) == 3


def test_digests_that_cannot_be_continued_here_need_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_digest, "resumes", lambda _: False)
    monkeypatch.setattr(recall_reading, "resumes", lambda _: False)
    bench = Bench()
    bench.ports = replace(bench.ports, deadline=SimpleNamespace(near=lambda: True))
    outcome = bench.run()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "not-resumable")
    assert "PERDURA_INVOCATION_SECONDS" in (outcome.message or "")


def test_an_empty_file_is_recalled_without_reading_anything() -> None:
    bench = Bench(file="data/empty.bin")
    bench.tape.read = None  # type: ignore[assignment,method-assign]
    outcome = bench.run()
    assert (outcome.state, outcome.output["recall"]["bytes"]) == (StepState.COMPLETED, 0)


@pytest.mark.parametrize("wanted", [{}, {"file": "data/one.bin"}, {"drill": True}])
def test_an_aip_comes_back_out_of_a_container(wanted: dict[str, Any]) -> None:
    bench = Bench(**wanted)
    path = "containers/0198f000-0000-7000-8000-000000000001.tar"
    bench.tape.files = {path: b"\0" * 1536 + DATA + b"\0" * 700}
    uri = f"davs://tape.example.org/perdura/{path}#offset=1536&length={len(DATA)}"
    bench.view = replace(bench.view, copies=(replace(bench.view.copies[0], uri=uri),))
    outcome = bench.run()
    assert outcome.state is StepState.COMPLETED, outcome
    assert bench.tape.released == [path]
    assert outcome.output["recall"]["bytes"] == (1000 if "file" in wanted else len(DATA))


def test_what_cannot_be_recalled_is_refused() -> None:
    bench = Bench(file="data/other.bin")
    with pytest.raises(NotFound):
        bench.run()
    with pytest.raises(Rejected):
        step.run(replace(bench.view, copies=()), bench.ports)
    with pytest.raises(Broken):
        step.run(bench.view, replace(bench.ports, tape=None))
