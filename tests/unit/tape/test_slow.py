"""A tape system that answers, but slowly: a look ends in time, and what it left is taken up by the next."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from perdura.clients import tape
from perdura.clients.fts_answers import FtsRefused, FtsUnavailable
from perdura.clients.tape import FtsTape
from perdura.clients.tape_endpoint import Locality, Stored
from perdura.outcome import ArchiveView, StepState
from perdura.ports import Wish
from perdura.steps import archive as step
from perdura.steps.archive_transfer import whole
from tests.unit.tape.fakes import FakeTape, FakeTapeJobs, PresigningStore, aip, archive, ports

DATA = b"an AIP" * 1000


class Watched:
    """A time budget that is over after so many questions to the tape system."""

    def __init__(self, tape: FakeTape, submissions: int) -> None:
        self._tape, self._submissions = tape, submissions

    def near(self) -> bool:
        return len(self._tape.submissions) >= self._submissions


def waiting(count: int, **changes: Any) -> tuple[list[ArchiveView], PresigningStore]:
    store = PresigningStore()
    views = []
    for number in range(count):
        package = replace(aip(store, DATA), id=UUID(int=number + 1))
        view = replace(archive(package), id=UUID(int=100 + number))
        checkpoint = replace(whole(view, package, package.checksums["adler32"]), **changes).checkpoint()
        views.append(replace(view, step=replace(view.step, id=UUID(int=200 + number), checkpoint=checkpoint)))
    return views, store


def test_what_time_does_not_suffice_for_is_asked_for_at_the_next_look() -> None:
    views, store = waiting(5)
    fts = FakeTape(fetch=lambda url: DATA)
    given = replace(ports(fts, store), deadline=Watched(fts, 2))
    outcomes = step.poll(views, given)
    assert [outcome.output["tape"]["waiting_for"] for _, outcome in outcomes] == ["submitted"] * 2 + ["tape-slow"] * 3
    assert {outcome.state for _, outcome in outcomes} == {StepState.WAITING}
    left = [replace(v, step=replace(v.step, checkpoint=o.checkpoint or {})) for v, o in outcomes[2:]]
    step.poll(left, ports(fts, store))
    assert len(fts.submissions) == len(set(fts.submissions)) == 5


def test_a_look_whose_time_is_over_asks_for_nothing_more() -> None:
    views, store = waiting(3, phase="job", job="a job")
    fts = FakeTape(fetch=lambda url: DATA)
    given = replace(ports(fts, store), deadline=Watched(fts, 0))
    fts.jobs = lambda *_: pytest.fail("asked for")  # type: ignore[method-assign]
    outcomes = step.poll(views, given)
    assert {outcome.output["tape"]["waiting_for"] for _, outcome in outcomes} == {"tape-slow"}
    assert {outcome.checkpoint["phase"] for _, outcome in outcomes if outcome.checkpoint} == {"job"}


def test_wishes_are_granted_while_there_is_time() -> None:
    views, store = waiting(1)
    fts = FakeTape(fetch=lambda url: DATA)
    given = ports(fts, store)
    jobs = given.tape_jobs
    assert isinstance(jobs, FakeTapeJobs)
    ((view, outcome),) = step.poll(views, given)
    (key,) = fts.submissions
    jobs.wished[key] = Wish(None, 5)
    asked = iter([False, True, True])
    view = replace(view, step=replace(view.step, checkpoint=outcome.checkpoint or {}))
    step.poll([view], replace(given, deadline=SimpleNamespace(near=lambda: next(asked, True))))
    assert fts.priorities == {}
    assert jobs.wished, "it is still wished"


def test_whatever_a_look_asks_of_many_ends_by_its_deadline() -> None:
    views, store = waiting(3)
    fts = FakeTape(fetch=lambda url: DATA)
    given = ports(fts, store)
    jobs = given.tape_jobs
    assert isinstance(jobs, FakeTapeJobs)
    outcomes = step.poll(views, given)
    jobs.wished[fts.submissions[0]] = Wish("Ada", None)
    fts.tick()
    asked: dict[str, Any] = {}

    def noting(name: str) -> Any:
        answer = getattr(fts, name)

        def ask(many: Any, deadline: Any = None) -> Any:
            asked[name] = deadline
            return answer(many)

        return ask

    for name in ("jobs", "cancel", "residency"):
        setattr(fts, name, noting(name))
    step.poll([replace(v, step=replace(v.step, checkpoint=o.checkpoint or {})) for v, o in outcomes], given)
    assert asked == dict.fromkeys(("jobs", "cancel", "residency"), given.deadline)


@pytest.mark.parametrize("wish", [Wish(None, 5), Wish("Ada", None)])
@pytest.mark.parametrize(
    "error",
    [
        FtsRefused("FTS answered 403: not yours", 403),
        FtsUnavailable("FTS answered 500", code="fts-internal-error"),
        FtsUnavailable("FTS did not answer POST"),
    ],
)
def test_a_wish_that_cannot_be_granted_hinders_no_look(error: Exception, wish: Wish) -> None:
    views, store = waiting(3)
    fts = FakeTape(fetch=lambda url: DATA)
    given = ports(fts, store)
    jobs = given.tape_jobs
    assert isinstance(jobs, FakeTapeJobs)
    outcomes = step.poll(views, given)

    def vain(*_: Any) -> None:
        raise error

    fts.set_priority = fts.cancel = vain  # type: ignore[method-assign]
    jobs.wished[fts.submissions[0]] = wish
    fts.tick()
    views = [replace(v, step=replace(v.step, checkpoint=o.checkpoint or {})) for v, o in outcomes]
    assert {outcome.state for _, outcome in step.poll(views, given)} == {StepState.COMPLETED}
    assert jobs.wished, "it is still wished"


def test_a_wish_that_fts_refuses_keeps_no_other_from_being_granted() -> None:
    views, store = waiting(3)
    fts = FakeTape(fetch=lambda url: DATA)
    given = ports(fts, store)
    jobs = given.tape_jobs
    assert isinstance(jobs, FakeTapeJobs)
    outcomes = step.poll(views, given)
    refused, *others = fts.submissions
    grant = fts.set_priority

    def set_priority(job_ids: Any, priority: int) -> None:
        if fts.job_id(refused) in job_ids:
            raise FtsRefused("FTS answered 403: not yours", 403)
        grant(job_ids, priority)

    fts.set_priority = set_priority  # type: ignore[method-assign]
    jobs.wished |= {key: Wish(None, 5) for key in fts.submissions}
    step.poll([replace(v, step=replace(v.step, checkpoint=o.checkpoint or {})) for v, o in outcomes], given)
    assert fts.priorities == {fts.job_id(key): 5 for key in others}
    assert list(jobs.wished) == [refused]


def test_files_that_are_asked_for_one_by_one_take_no_longer_than_a_look_may(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def stat(path: str) -> Stored:
        asked.append(path)
        time.sleep(0.02)
        return Stored(10, "00000001")

    endpoint: Any = SimpleNamespace(
        localities=lambda paths, deadline: {path: Locality("TAPE", None) for path in paths}, stat=stat
    )
    monkeypatch.setattr(tape, "SINGLY", 0.05)
    system = FtsTape(SimpleNamespace(), endpoint, "davs://tape/perdura", archive_timeout=1)  # type: ignore[arg-type]
    paths = [f"{number}.tar" for number in range(50)]
    found = system.residency(paths)
    assert len(found) == 50
    assert 1 <= len(asked) < 10
    assert {found[path].error for path in paths[len(asked) :]} == {"UNAVAILABLE"}, "not known, which is not gone"
