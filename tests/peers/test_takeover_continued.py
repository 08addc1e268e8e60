"""Taking an AIP over in several invocations, each with too little time: nothing lost, nothing twice, no endless end."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from perdura.outcome import StepState
from perdura.steps import preserve_takeover_history as history
from perdura.storage.memory import MemoryStore
from tests.peers.archivematica.driver import Case, NoDeadline
from tests.peers.archivematica.pipeline import Plan
from tests.peers.test_archivematica_driver import Scene

MIB = 2**20


class Short:
    """Time is up after it was asked for so many times."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def near(self) -> bool:
        self._looks -= 1
        return self._looks < 0


def files(count: int, size: int) -> dict[str, bytes]:
    return {f"{number:02}.bin": random.Random(number).randbytes(size) for number in range(count)}


def stored(scene: Scene, content: dict[str, bytes], plan: Plan | None = None) -> Case:
    """A package whose AIP was made and waits to be taken over."""
    case = scene.driver.add(1, content)
    scene.pipeline.default_plan = plan or Plan()
    for _ in range(600):
        scene.driver.tick()
        scene.clock.step(1)
        mine = scene.driver.book.of_step(case.view.step.id)
        if mine is not None and mine.state == "stored":
            return case
    raise AssertionError("no AIP was made")


def finish(scene: Scene, case: Case, looks: int, most: int = 60) -> int:
    """Run the step until it ends; gives the number of invocations."""
    scene.driver.deadline = lambda: Short(looks)
    for count in range(1, most):
        scene.driver.tick()
        scene.clock.step(1)
        if case.state is not StepState.QUEUED:
            return count
    raise AssertionError("it does not end")


@pytest.mark.parametrize(
    ("place", "plan", "count", "looks"),
    [("stay", "ok", 12, 12), ("copy", "ok", 12, 10), ("stay", "unpacked", 40, 30)],
)
def test_an_aip_is_taken_over_by_as_many_invocations_as_it_needs(place: str, plan: str, count: int, looks: int) -> None:
    at_once, scene = Scene(aip_place=place), Scene(aip_place=place)
    whole = stored(at_once, files(count, MIB), Plan(store=plan))
    at_once.driver.run(60)
    case = stored(scene, files(count, MIB), Plan(store=plan))
    assert finish(scene, case, looks) > 1
    assert case.outcome is not None
    assert whole.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    (one,), (other,) = case.outcome.packages, whole.outcome.packages
    assert (one.bucket, one.container) == (other.bucket, other.container)
    assert set(one.checksums) == set(other.checksums)
    assert len(case.outcome.files[0][1]) == len(whole.outcome.files[0][1])
    assert len(scene.driver.events) == len(at_once.driver.events)


def test_an_uncompressed_aip_is_verified_a_few_files_at_a_time() -> None:
    scene = Scene()
    case = stored(scene, files(60, MIB), Plan(store="unpacked"))
    assert finish(scene, case, 30) >= 3
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    receipts = list(scene.store.list("perdura-sips", f"{case.view.id}/verification/"))
    assert len(receipts) >= 2


def test_an_object_that_changes_between_invocations_is_found() -> None:
    scene = Scene()
    case = stored(scene, files(20, MIB), Plan(store="unpacked"))
    scene.driver.deadline = lambda: Short(14)
    scene.driver.tick()
    scene.clock.step(1)
    assert case.state is StepState.QUEUED
    victim = next(info for info in scene.store.list("aips-one", "") if info.ref.key.endswith("00.bin"))
    scene.store.put("aips-one", victim.ref.key, bytes(MIB))
    scene.driver.deadline = NoDeadline
    scene.driver.run(60)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.FAILED, "aip-bag-invalid")


def test_a_compressed_aip_that_no_invocation_can_read_blocks_by_name_and_is_not_read_for_ever() -> None:
    scene = Scene()
    case = stored(scene, files(12, MIB))
    assert finish(scene, case, 5) < 10
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "invocation-too-short")
    assert scene.driver.events == {}
    scene.driver.retry(case)
    scene.driver.deadline = NoDeadline
    scene.driver.run(3600)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == 1


def test_an_aip_that_comes_as_a_stream_and_is_too_long_blocks_by_name() -> None:
    scene = Scene(aip_bucket=None)
    case = stored(scene, files(8, MIB))
    finish(scene, case, 3)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "invocation-too-short")
    assert list(scene.store.list("perdura-aips", "")) == []


def test_a_long_history_is_recorded_in_batches_by_several_invocations_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "TOGETHER", 5)
    monkeypatch.setattr(history, "_BATCH", 3)
    scene = Scene()
    case = stored(scene, files(12, 100))
    written: Counter[object] = Counter()
    record = scene.driver._record

    def counted(events: object) -> None:
        written.update(event.id for event in events)  # type: ignore[attr-defined]
        record(events)  # type: ignore[arg-type]

    monkeypatch.setattr(scene.driver, "_record", counted)
    assert finish(scene, case, 12) > 2
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    assert case.outcome.told_events == ()
    assert len(written) == case.outcome.output["events"]
    assert set(written.values()) == {1}


@pytest.mark.parametrize("together", [5, 10_000])
@pytest.mark.parametrize("fault", ["flip", "short"])
def test_nothing_is_recorded_of_an_aip_that_is_not_taken_over(
    monkeypatch: pytest.MonkeyPatch, together: int, fault: str
) -> None:
    monkeypatch.setattr(history, "TOGETHER", together)
    scene = Scene()
    case = scene.preserve(Plan(store=fault), hours=1)
    assert case.state is StepState.FAILED
    assert scene.driver.events == {}


def test_a_copy_that_another_worker_finished_before_it_died_is_made_again() -> None:
    scene = Scene(aip_place="copy")
    case = stored(scene, files(3, MIB))
    scene.driver.deadline = lambda: Short(0)
    scene.driver.tick()
    assert case.state is StepState.QUEUED
    upload = case.view.step.checkpoint["takeover"]["upload"]
    store: MemoryStore = scene.store
    from perdura.storage.uploads import Upload

    store.uploads.abort(Upload("perdura-aips", "x", upload))
    scene.driver.deadline = NoDeadline
    scene.driver.run(60)
    assert case.state is StepState.COMPLETED
