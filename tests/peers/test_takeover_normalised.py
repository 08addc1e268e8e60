"""Which files were not normalised is asked by the job's name: a good AIP is taken over whatever the answer."""

from __future__ import annotations

import pytest

from perdura.clients.archivematica import dashboard, exchange
from perdura.outcome import Finding, StepState
from tests.peers.archivematica.driver import Case
from tests.peers.archivematica.jobs import Job
from tests.peers.archivematica.pipeline import Pipeline, Unit
from tests.peers.archivematica.server import Answer, FakeArchivematica
from tests.peers.test_archivematica_driver import Scene


def normalising(scene: Scene, tasks: list[tuple[str, int]]) -> None:
    """Have every SIP normalise so many files, beside other jobs that have as many tasks."""
    original = Pipeline._store

    def store(unit: Unit) -> None:
        at = scene.pipeline.agenda.at
        others = [(f"{number:06}.txt", 0) for number in range(len(tasks))]
        unit.jobs.append(Job("Characterize and extract metadata", "Characterize", "x", "COMPLETE", at, others))
        unit.jobs.append(Job("Normalize for preservation", "Normalize", "x", "FAILED", at, tasks))
        original(scene.pipeline, unit)

    scene.pipeline._store = store  # type: ignore[method-assign]


def findings(case: Case) -> list[Finding]:
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED_WITH_WARNINGS, case.outcome.message
    return list(case.outcome.findings)


def test_the_jobs_of_a_package_of_many_files_are_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    normalising(scene, [(f"{number:06}.bmp", int(number < 3)) for number in range(20_000)])
    largest = 0

    def noted(fake: FakeArchivematica, unit: str, params: dict[str, str]) -> Answer:
        nonlocal largest
        answer = original(fake, unit, params)
        largest = max(largest, len(answer[2]))
        return answer

    original = FakeArchivematica._jobs
    monkeypatch.setattr(FakeArchivematica, "_jobs", noted)
    # All details of all jobs would be more than is ever read; so is the whole list without them.
    monkeypatch.setattr(exchange, "LARGEST", 2_000_000)
    found = findings(scene.preserve(hours=1))
    assert [each.path for each in found] == ["000000.bmp", "000001.bmp", "000002.bmp"]
    assert largest < 80 * 20_000


def test_files_beyond_those_that_are_named_are_counted() -> None:
    scene = Scene()
    normalising(scene, [(f"{number:03}.bmp", 1) for number in range(130)])
    found = findings(scene.preserve(hours=1))
    assert {each.code for each in found} == {"not-normalised"}
    assert len(found) == 101
    assert found[-1].message == "30 more files: Normalize for preservation failed in Archivematica."


def test_a_list_that_is_too_long_to_be_read_is_a_warning_and_no_lost_aip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "LONGEST_LIST", 20_000)
    scene = Scene()
    normalising(scene, [(f"{number:03}.bmp", 1) for number in range(1000)])
    (found,) = findings(scene.preserve(hours=1))
    assert found.code == "normalisation-unknown"


def test_a_list_that_cannot_be_had_is_waited_for_an_hour_and_the_aip_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    broken = (500, {"Content-Type": "application/json"}, b'{"error": true, "message": "Deadline exceeded"}')
    monkeypatch.setattr(FakeArchivematica, "_jobs", lambda *_: broken)
    case = scene.preserve(hours=0.5)
    assert case.state is StepState.WAITING
    assert case.view.step.checkpoint["takeover"]["package"]["checksums"]
    scene.driver.run(3600)
    assert {each.code for each in findings(case)} == {"normalisation-unknown"}
    assert sum(scene.started().values()) == 1
