"""Archivematica asked again: attempts after what was cancelled or lost, and new versions of an AIP."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from perdura.clients.archivematica import storage_service
from perdura.clients.archivematica.connect import ConnectedArchivematica
from perdura.clients.archivematica.exchange import Exchange
from perdura.clients.archivematica.storage_service import StorageService
from perdura.fleet import Archivematica, ArchivematicaUnavailable, NotSent, Submission
from perdura.ids import derived_id
from perdura.outcome import Package, StepState
from perdura.steps import preserve, preserve_archivematica, preserve_takeover_inside
from perdura.steps import preserve_archivematica_source as source
from perdura.steps.preserve_outsized import KEY as JOB
from tests.peers.archivematica import aip
from tests.peers.archivematica.clock import BEGIN
from tests.peers.archivematica.driver import FINAL, Case, Died, instance
from tests.peers.archivematica.pipeline import Plan
from tests.peers.test_archivematica_driver import Scene, drop_mets

DONE = frozenset({StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS})


def behind_a_slow_one(scene: Scene, **step_input: object) -> Case:
    """A package that Archivematica has taken and says nothing of: another one fills its only place."""
    first = scene.driver.add(1)
    scene.pipeline.plans[str(first.view.id)] = Plan(transfer="slow")
    case = scene.driver.add(2, **step_input)
    scene.driver.run(40, tick=5)
    submission = scene.driver.book.of_step(case.view.step.id)
    assert submission is not None
    assert (submission.state, submission.status) in {("followed", "NO_STATUS"), ("followed", "")}
    return case


@pytest.mark.parametrize("again", [True, False])
def test_an_attempt_that_is_cancelled_while_its_sip_is_placed_sends_nothing(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    case = scene.driver.add(1)
    place, placed = source.place, []

    def slowly(submission: Submission, *more: Any) -> None:
        place(submission, *more)
        placed.append(submission.name)
        if len(placed) == 1:
            scene.driver.retry(case) if again else scene.driver.cancel(case)
            if again:
                scene.driver.tick()

    monkeypatch.setattr(source, "place", slowly)
    scene.driver.run(3600, tick=5)
    assert [unit.name for unit in scene.pipeline.started] == ([f"{case.view.id}-2"] if again else [])
    assert case.state is (StepState.COMPLETED if again else StepState.CANCELLED)


def test_what_is_queued_in_archivematica_is_not_sent_again_after_its_step_was_cancelled() -> None:
    scene = Scene(slots=1)
    case = behind_a_slow_one(scene)
    scene.driver.retry(case)
    scene.driver.run(20 * 3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == len(scene.pipeline.stored) == 2


def test_a_queued_transfer_outlives_a_run_of_cancelled_attempts() -> None:
    scene = Scene(slots=1)
    case = behind_a_slow_one(scene)
    for _ in range(3):
        scene.driver.retry(case)
        scene.driver.run(5, tick=5)
    scene.driver.run(20 * 3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 2
    assert list(scene.store.list("sips-one", "")) == []


def test_what_a_person_was_told_is_lost_is_sent_again_under_a_name_of_its_own() -> None:
    scene = Scene()
    case = scene.preserve(Plan(copying="lost"), hours=30)
    assert case.outcome is not None
    assert case.outcome.error_code == "archivematica-lost"
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert [unit.name for unit in scene.pipeline.started] == [str(case.view.id), f"{case.view.id}-2"]


def test_what_was_cancelled_and_shows_no_life_for_all_its_patience_is_sent_again() -> None:
    scene = Scene()
    case = scene.preserve(Plan(copying="lost"), hours=0.05)
    assert case.state is StepState.WAITING
    scene.clock.step(10 * 3600)
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 2


@pytest.mark.parametrize("plan", [Plan(post="reset-created"), Plan(post="reset-created", transfer="user-input")])
@pytest.mark.parametrize("version", ["1.17.0", "1.19.0"])
def test_a_request_whose_answer_was_lost_is_not_repeated_by_the_next_attempt(plan: Plan, version: str) -> None:
    scene = Scene(version=version)
    case = scene.preserve(plan, hours=0.001)
    submission = scene.driver.book.of_step(case.view.step.id)
    assert submission is not None
    assert submission.transfer is None
    for _ in range(2):
        scene.driver.retry(case)
        scene.driver.run(4, tick=2)
    scene.driver.run(60, tick=5)
    assert len(scene.pipeline.started) == 1
    (unit,) = scene.pipeline.started
    if plan.transfer == "user-input":
        assert case.state is StepState.WAITING
        scene.pipeline.decide(unit)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 1


def test_nothing_is_sent_while_it_cannot_be_asked_whether_an_earlier_transfer_lives() -> None:
    scene = Scene("one", "two", slots=1)
    case = scene.preserve(Plan(transfer="slow"), hours=0.01)
    (used,) = [name for name, pipeline in scene.pipelines.items() if pipeline.started]
    scene.fakes[used].down = True
    scene.driver.retry(case)
    scene.driver.run(120, tick=5)
    assert sum(scene.started().values()) == 1
    scene.fakes[used].down = False
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == 1


def test_a_worker_that_dies_once_it_is_in_the_queue_sends_nothing_beside_what_lives() -> None:
    scene = Scene(slots=1)
    case = behind_a_slow_one(scene)
    scene.driver.retry(case)
    book = scene.driver.book
    queue = book.queue

    def dying(*given: object) -> object:
        queue(*given)  # type: ignore[arg-type]
        raise Died

    book.queue = dying  # type: ignore[assignment, method-assign]
    scene.driver.tick()
    assert case.died == 1
    book.queue = queue  # type: ignore[method-assign]
    scene.driver.run(20 * 3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 2


def test_a_question_asked_again_that_cannot_be_sent_puts_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene("one", "two", version="1.19.0")
    case = scene.preserve(Plan(post="reset-created"), hours=0.001)
    start = ConnectedArchivematica.start
    scene.driver.book.modes["one"] = "draining"

    def refused(*_: object) -> None:
        raise NotSent("refused")

    monkeypatch.setattr(ConnectedArchivematica, "start", refused)
    scene.driver.run(30, tick=5)
    monkeypatch.setattr(ConnectedArchivematica, "start", start)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == 1


def test_an_attempt_that_was_cancelled_before_anything_was_sent_leaves_its_name_to_nobody() -> None:
    scene = Scene(packages=1, slots=1)
    case = scene.driver.add(1)
    scene.pipeline.plans[str(case.view.id)] = Plan(transfer="slow")
    scene.driver.run(10, tick=5)
    other = scene.driver.add(2)
    scene.driver.run(10, tick=5)
    scene.driver.retry(other)
    scene.driver.run(3600, tick=5)
    assert other.state is StepState.COMPLETED
    assert scene.pipeline.started[-1].name == f"{other.view.id}-2"


def test_a_new_version_is_a_new_transfer_and_a_new_aip_that_refers_to_its_predecessor() -> None:
    scene = Scene()
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    before = case.outcome.packages[0]
    scene.driver.preserve_again(case, reason="metadata changed", configuration="s3store")
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED
    (made,) = case.outcome.packages
    assert (made.id != before.id, made.key != before.key) == (True, True)
    assert [unit.name for unit in scene.pipeline.started] == [str(case.view.id), f"{case.view.id}-2"]
    assert scene.pipeline.started[1].configuration == "s3store"
    (event,) = [event for event in case.outcome.events if event.type == "modification"]
    assert event.details == (f"new version of AIP {before.id}: metadata changed",)
    assert {(link.value, link.roles) for link in event.objects} >= {
        (str(made.id), ("outcome",)),
        (str(before.id), ("source",)),
    }


def an_addition(scene: Scene, path: str, body: bytes, **more: object) -> dict[str, object]:
    scene.store.put("perdura-sips", f"added/{path}", body)
    digest = hashlib.sha256(body).hexdigest()
    where = {"path": path, "bucket": "perdura-sips", "key": f"added/{path}"}
    return {**where, "size": len(body), "sha256": digest, **more}


def aip_of(scene: Scene, package: Package) -> dict[str, bytes]:
    """Members of a stored AIP, below its folder."""
    data = scene.store.read(scene.store.head(package.bucket, package.key).ref)
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        return {member.name.partition("/")[2]: body.read() for member in packed if (body := packed.extractfile(member))}


@pytest.mark.parametrize("directory", [False, True])
def test_a_new_version_has_the_files_that_were_added_and_not_those_they_replace(
    directory: bool, tmp_path: Path
) -> None:
    mounted = {"source_bucket": None, "source_prefix": "", "source_directory": tmp_path}
    scene = Scene(**mounted) if directory else Scene()  # type: ignore[arg-type]
    if directory:
        scene.mirror(tmp_path)
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    before = case.outcome.packages[0]
    additions = [
        an_addition(scene, "a.txt", b"corrected"),
        an_addition(scene, "b/new.csv", b"1;2", derived_from="a.txt"),
    ]
    scene.driver.preserve_again(case, reason="corrected", additions=additions)
    scene.driver.run(3600, tick=1)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    files = aip_of(scene, case.outcome.packages[0])
    assert files["data/objects/a.txt"] == b"corrected"
    assert files["data/objects/b/new.csv"] == b"1;2"
    assert files["data/objects/b/ü c.txt"] == b"same"
    told = next(body for path, body in files.items() if path.endswith("/bag-info.txt"))
    assert f"Predecessor-AIP: urn:uuid:{before.id}" in told.decode()
    assert aip_of(scene, before)["data/objects/a.txt"] != b"corrected"
    (event,) = [event for event in case.outcome.events if event.type == "migration"]
    assert event.outcomes[0].notes == ("a.txt added", "b/new.csv made from a.txt")


def test_a_version_in_whose_aip_an_addition_is_lost_fails() -> None:
    scene = Scene()
    case = scene.preserve(hours=1)
    scene.pipeline.plans[f"{case.view.id}-2"] = Plan(store="short")
    scene.driver.preserve_again(case, additions=[an_addition(scene, "z.txt", b"late")])
    scene.driver.run(3600, tick=1)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.FAILED, "file-lost")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sha256": "0" * 64}, "fixity-mismatch"),
        ({"size": 1}, "size-mismatch"),
        ({"key": "gone"}, "addition-missing"),
        ({"path": "a.txt/below"}, "file-and-folder"),
    ],
)
def test_additions_that_do_not_fit_are_not_sent(changes: dict[str, object], code: str) -> None:
    scene = Scene()
    case = scene.preserve(hours=1)
    scene.driver.preserve_again(case, additions=[{**an_addition(scene, "new.txt", b"new"), **changes}])
    scene.driver.run(60, tick=1)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.FAILED, code)
    assert len(scene.pipeline.started) == 1
    assert list(scene.store.list("sips-one", "")) == []
    left = scene.driver.book.of_step(case.view.step.id)
    assert left is not None
    assert (left.state, left.outcome) == ("closed", code)


def test_what_there_is_no_time_to_place_is_queued_again_and_sent_once() -> None:
    scene = Scene()
    case = scene.preserve(hours=1)
    short = ShortTime()
    scene.driver.deadline = lambda: short
    scene.driver.preserve_again(case, additions=[an_addition(scene, "new.txt", b"new")])
    scene.driver.tick()
    assert (case.state, len(scene.pipeline.started)) == (StepState.BLOCKED, 1)
    left = scene.driver.book.of_step(case.view.step.id)
    assert left is not None
    assert (left.state, left.instance) == ("queued", None)
    short.near = lambda: False  # type: ignore[method-assign]
    case.state = StepState.QUEUED
    scene.driver.run(3600, tick=1)
    assert (case.state, len(scene.pipeline.started)) == (StepState.COMPLETED, 2)


def test_what_a_job_is_to_place_keeps_its_place_until_that_does_it() -> None:
    scene = Scene(packages=1)
    case = scene.preserve(hours=1)
    scene.driver.settings = scene.driver.settings.model_copy(update={"outsized_bytes": 2**40})
    scene.driver.preserve_again(case, additions=[an_addition(scene, "new.txt", b"new")])
    short = replace(scene.driver.ports(case.view), deadline=ShortTime())
    handed = preserve.run(replace(case.view, step=replace(case.view.step, input=engine(case))), short)
    assert (handed.state, (handed.checkpoint or {})[JOB]) == (StepState.WAITING, 1)
    other = scene.driver.add(2)
    case.state, case.due = StepState.WAITING, scene.clock.now() + timedelta(hours=25)
    scene.driver.run(60, tick=5)
    assert (other.state, len(scene.pipeline.started)) == (StepState.WAITING, 1)
    job = preserve_archivematica.run(case.view, scene.driver.ports(case.view))
    assert job.state is StepState.WAITING
    assert len(scene.pipeline.started) == 2


def engine(case: Case) -> dict[str, Any]:
    return {**case.view.step.input, "engine": "archivematica"}


def test_in_bad_weather_versions_and_cancelled_attempts_never_have_two_lives_and_lose_no_addition() -> None:
    """Dying workers, broken answers, DIPs with faults, attempts cancelled at any moment, then a version with a file."""
    chance = random.Random(11)
    scene = Scene("one", "two", noise=0.03, slots=3)
    scene.driver.deaths = 0.004
    scene.pipelines["two"].with_dip = True
    scene.pipelines["two"].change_dip = lambda members: chance.random() < 0.3 and drop_mets(members)
    cases = [scene.driver.add(number) for number in range(80)]
    versions: dict[UUID, tuple[UUID, str]] = {}
    cancelled = 0

    def weather() -> None:
        nonlocal cancelled
        for case in cases:
            if case.state not in FINAL and chance.random() < 0.004:
                cancelled += 1
                scene.driver.retry(case)
            elif case.state in DONE and case.view.id not in versions:
                assert case.outcome is not None
                addition = an_addition(scene, f"new {case.view.id}.txt", case.view.id.bytes)
                versions[case.view.id] = (case.outcome.packages[0].id, str(addition["sha256"]))
                scene.driver.preserve_again(case, reason="late", additions=[addition])
        lives = Counter(
            unit.name[:36]
            for pipeline in scene.pipelines.values()
            for unit in pipeline.units.values()
            if unit.state in {"copying", "queued", "running", "asking"}
        )
        assert all(count == 1 for count in lives.values())

    for _ in range(2):
        scene.driver.run(60 * 3600, tick=10, between=weather)
        weather()
    assert all(case.state in FINAL for case in cases)
    assert max(scene.started().values()) == 1
    done = [case for case in cases if case.state in DONE and case.view.id in versions]
    assert len(done) > 70
    for case in done:
        assert case.outcome is not None
        before, added = versions[case.view.id]
        assert case.outcome.packages[0].id != before
        digests = {file.checksums["sha256"] for _, files in case.outcome.files for file in files}
        assert added in digests
    assert any(finding.code == "dip-not-taken" for case in done if case.outcome for finding in case.outcome.findings)
    assert sum(case.died for case in cases) > 0 < cancelled


class ShortTime:
    def near(self) -> bool:
        return True


def test_a_retry_of_a_new_version_goes_on_with_its_own_transfer() -> None:
    scene = Scene(slots=1)
    case = scene.preserve(hours=1)
    scene.pipeline.plans[f"{case.view.id}-2"] = Plan(transfer="slow")
    scene.driver.preserve_again(case, reason="again")
    scene.driver.run(20, tick=5)
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == len(scene.pipeline.stored) == 2


def test_an_aip_that_was_finished_but_not_registered_is_taken_over_by_the_next_attempt() -> None:
    scene = Scene()
    case = scene.preserve(hours=1)
    scene.driver.retry(case)
    case.view = replace(case.view, packages=case.view.packages[:1])
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 1


def test_a_cancelled_step_keeps_its_place_while_archivematica_works_and_frees_it_then() -> None:
    scene = Scene(packages=1, slots=1)
    case = scene.driver.add(1)
    scene.pipeline.plans[str(case.view.id)] = Plan(transfer="slow")
    scene.driver.run(20, tick=5)
    scene.driver.cancel(case)
    other = scene.driver.add(2)
    scene.driver.run(60, tick=5)
    assert [unit.name for unit in scene.pipeline.started] == [str(case.view.id)]
    scene.driver.run(3600, tick=5)
    assert other.state is StepState.COMPLETED
    left = scene.driver.book.of_step(case.view.step.id)
    assert left is not None
    assert (left.state, left.outcome) == ("closed", "ingested")


@pytest.mark.parametrize(
    ("plan", "outcome"),
    [
        (Plan(transfer="failed"), "archivematica-failed"),
        (Plan(copying="lost"), "archivematica-lost"),
        (Plan(transfer="wedge"), "archivematica-stuck"),
        (Plan(transfer="user-input"), "decision-overdue"),
        (Plan(post="reset"), "archivematica-unaccounted"),
        (Plan(post="reset-created"), "ingested"),
        (Plan(post="reset-created", transfer="user-input"), "decision-overdue"),
    ],
    ids=str,
)
def test_the_place_of_a_cancelled_step_is_never_kept_for_ever(plan: Plan, outcome: str) -> None:
    scene = Scene(packages=1, slots=2)
    case = scene.preserve(plan, hours=0.0005)
    scene.driver.cancel(case)
    other = scene.driver.add(2)
    scene.driver.run(100 * 3600, tick=10)
    assert other.state is StepState.COMPLETED
    left = scene.driver.book.of_step(case.view.step.id)
    assert left is not None
    assert (left.state, left.outcome) == ("closed", outcome)


def test_a_name_that_begins_like_that_of_another_transfer_finds_no_aip_of_that_one() -> None:
    scene = Scene()
    case = scene.preserve(Plan(post="reset"), hours=30)
    assert case.outcome is not None
    assert case.outcome.error_code == "archivematica-unaccounted"
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED
    before = case.outcome.packages[0]
    assert archivematica_of(scene).stored_as(str(case.view.id), BEGIN) == ()
    assert [each.id for each in archivematica_of(scene).stored_as(f"{case.view.id}-2", BEGIN)] == [before.id]
    scene.driver.preserve_again(case, reason="metadata changed")
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED
    assert case.outcome.packages[0].id != before.id
    assert "modification" in {event.type for event in case.outcome.events}


def archivematica_of(scene: Scene) -> Archivematica:
    return scene.driver.instances["one"]


def test_an_aip_of_a_transfer_that_was_given_up_is_not_taken_for_a_version_that_was_asked_for_later() -> None:
    scene = Scene()
    case = scene.preserve(Plan(post="reset"), hours=30)
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    (aip,) = scene.pipeline.stored.values()
    late = str(UUID(int=9))
    name = aip.made.name.replace(f"{case.view.id}-2-{aip.id}", f"{case.view.id}-{late}")
    scene.pipeline.stored[late] = replace(aip, id=late, path=f"/aip/{name}", made=replace(aip.made, name=name))
    assert [str(each.id) for each in archivematica_of(scene).stored_as(str(case.view.id), BEGIN)] == [late]
    scene.driver.preserve_again(case, reason="metadata changed")
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED
    assert str(case.outcome.packages[0].id) not in {late, aip.id}


@pytest.mark.parametrize("store", ["flip", "fail", "short"])
def test_a_package_whose_aip_is_flawed_is_sent_anew_by_the_next_attempt(store: str) -> None:
    scene = Scene()
    case = scene.preserve(Plan(store=store), hours=1)
    assert case.outcome is not None
    assert case.state is StepState.FAILED
    assert "Trying again sends the package anew" in case.outcome.message
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED, case.outcome.message
    assert [unit.name for unit in scene.pipeline.started] == [str(case.view.id), f"{case.view.id}-2"]


def blocked_then_taken(scene: Scene, case: Case, code: str, mend: Callable[[], object]) -> None:
    """The AIP is not taken over by `code`; when a person has mended that and tries again it is, and not made twice."""
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, code)
    assert "Trying again looks at it again" in case.outcome.message
    assert "validation" not in {event.type for event in case.outcome.events}
    mend()
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert case.state in DONE, case.outcome.message
    assert len(scene.pipeline.started) == len(scene.pipeline.stored) == 1


def test_an_aip_that_a_setting_does_not_find_is_taken_over_when_it_is_mended() -> None:
    scene = Scene(aip_bucket="aips-typo")
    case = scene.preserve(hours=1)

    def mend() -> None:
        scene.driver.instances = {"one": instance(scene.fakes["one"], "one")}
        scene.driver.use(scene.driver.book)

    blocked_then_taken(scene, case, "aip-missing", mend)


def test_an_aip_whose_deletion_was_asked_for_and_refused_is_taken_over() -> None:
    scene = Scene()
    scene.driver.add(1)

    def stored_as(status: str) -> None:
        for each in scene.pipeline.stored.values():
            each.status = status

    scene.driver.run(3600, tick=1, between=lambda: stored_as("DEL_REQ"))
    (case,) = scene.driver.cases.values()
    blocked_then_taken(scene, case, "aip-not-stored", lambda: stored_as("UPLOADED"))


def test_an_aip_that_the_policy_keeps_out_is_taken_over_when_it_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aip, "_EVENTS", tuple(each for each in aip._EVENTS if each[0] != "virus check"))
    scene = Scene()
    before = scene.driver.settings
    scene.driver.settings = before.model_copy(update={"virus_scan": "required"})
    case = scene.preserve(hours=1)
    blocked_then_taken(scene, case, "aip-not-scanned", lambda: setattr(scene.driver, "settings", before))


def test_an_aip_beyond_our_limits_is_taken_over_when_they_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    limits = preserve_takeover_inside.AIP_LIMITS
    monkeypatch.setattr(preserve_takeover_inside, "AIP_LIMITS", replace(limits, members=3))
    case = scene.preserve(hours=1)
    raised = partial(monkeypatch.setattr, preserve_takeover_inside, "AIP_LIMITS", limits)
    blocked_then_taken(scene, case, "aip-beyond-limits", raised)


def test_an_aip_whose_stream_was_cut_short_is_fetched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ConnectedArchivematica.download

    @contextmanager
    def cut(client: ConnectedArchivematica, package: UUID, near: Callable[[], bool]) -> Iterator[Iterator[bytes]]:
        with whole(client, package, near) as chunks:
            yield iter([b"".join(chunks)[:-100]])

    monkeypatch.setattr(ConnectedArchivematica, "download", cut)
    scene = Scene(aip_bucket=None)
    case = scene.preserve(hours=1)
    mended = partial(monkeypatch.setattr, ConnectedArchivematica, "download", whole)
    blocked_then_taken(scene, case, "aip-size", mended)


def test_a_pointer_file_that_cannot_be_had_once_is_asked_for_again() -> None:
    replies = iter([httpx.Response(429), httpx.Response(404), httpx.Response(200, content=b"<mets></mets>")])
    transport = httpx.MockTransport(lambda _: next(replies))
    service = StorageService(Exchange("http://ss", "u", SecretStr("k"), transport=transport))
    with pytest.raises(ArchivematicaUnavailable):
        service.pointer(UUID(int=1))
    assert service.pointer(UUID(int=1)) is None
    assert service.pointer(UUID(int=1)) == b"<mets></mets>"


def test_a_package_whose_aip_people_deleted_is_sent_anew() -> None:
    scene = Scene()
    case = scene.preserve(Plan(store="missing"), hours=1)
    assert case.state is StepState.BLOCKED
    (stored,) = scene.pipeline.stored.values()
    stored.status = "DELETED"
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert [unit.name for unit in scene.pipeline.started] == [str(case.view.id), f"{case.view.id}-2"]


@pytest.mark.parametrize("lost", ["at once", "between two looks"])
@pytest.mark.parametrize("stage", ["transfer", "ingest"])
def test_an_aip_whose_unit_the_dashboard_has_forgotten_is_found_in_the_storage_service(lost: str, stage: str) -> None:
    scene = Scene()
    case = scene.driver.add(1)
    scene.driver.run(4 if stage == "transfer" else 9, tick=1)
    submission = scene.driver.book.of_step(case.view.step.id)
    assert submission is not None
    assert (submission.sip is None) is (stage == "transfer")
    units = dict(scene.pipeline.units)
    if lost == "at once":
        scene.pipeline.units.clear()
        scene.driver.run(60, tick=1)
        assert case.outcome is not None
        assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "archivematica-forgot")
        assert str(case.view.id) in case.outcome.message
        scene.pipeline.units.update(units)
    scene.clock.step(60)
    scene.pipeline.agenda.run()
    assert len(scene.pipeline.stored) == 1
    scene.pipeline.units.clear()
    if lost == "at once":
        scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert len(scene.pipeline.started) == 1


def test_what_is_looked_for_is_never_called_missing_because_the_list_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    for number in range(3):
        scene.driver.add(number)
    scene.driver.run(3600, tick=5)
    monkeypatch.setattr(storage_service, "PAGE", 1)
    assert len(archivematica_of(scene).stored_as(str(derived_id("case", 2)), BEGIN)) == 1
    monkeypatch.setattr(storage_service, "MOST_PAGES", 2)
    with pytest.raises(ArchivematicaUnavailable, match="More than 2 AIPs"):
        archivematica_of(scene).stored_as(str(derived_id("case", 2)), BEGIN)


def test_a_decision_about_a_transfer_whose_start_was_not_answered_is_not_waited_for_for_ever() -> None:
    scene = Scene()
    case = scene.preserve(Plan(post="reset-created", transfer="user-input"), hours=100)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "decision-overdue")


def test_one_look_that_fails_while_a_person_is_waited_for_ends_nothing() -> None:
    scene = Scene()
    case = scene.preserve(Plan(transfer="user-input"), hours=60)
    (unit,) = scene.pipeline.started
    scene.fakes["one"].cannot_tell.add("/status/")
    scene.driver.run(120, tick=5)
    scene.fakes["one"].cannot_tell.clear()
    assert case.state is StepState.WAITING
    scene.pipeline.decide(unit)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
