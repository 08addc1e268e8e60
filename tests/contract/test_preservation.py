"""The book of submissions, and versions of AIPs, in a real database."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from perdura.fleet import Probe, Submission, Terms
from perdura.ids import derived_id, new_id
from perdura.outcome import Copy, File, Outcome, Package, PackageKind, StepState
from perdura.premis import log
from perdura.premis.model import Event, Identifier
from perdura.registry import archivematica, archives, preservation, steering, work
from perdura.registry.archivematica import SubmissionBook
from perdura.runtime.extras import LoggedEvents
from tests.peers.archivematica.clock import SteppedClock
from tests.peers.archivematica.driver import FINAL, Driver, instance
from tests.peers.archivematica.pipeline import Pipeline, Plan
from tests.peers.archivematica.server import FakeArchivematica
from tests.peers.test_archivematica_driver import Scene, aips_of, any_plan

ONE = Terms("one", 2, None, "automated", str(new_id()))
TWO = Terms("two", 4, 1000, "automated", str(new_id()))
PIPELINE = ("ingest", "preserve", "publish")


def begun(database: Engine) -> tuple[UUID, UUID]:
    """An Archive with its first step."""
    archive = new_id()
    with database.begin() as connection:
        archives.create(connection, archive, title="A", origin="deposit", pipeline=PIPELINE, step_input={})
    return archive, archives.first_step_id(archive)


@pytest.fixture
def book(database: Engine) -> SubmissionBook:
    return SubmissionBook(database, limit=3, pause=600)


def queued(database: Engine, book: SubmissionBook, size: int = 10, wanted: str | None = None) -> Submission:
    archive, step = begun(database)
    return book.queue(archive, step, size, wanted)


def test_a_step_has_one_submission_however_often_it_is_queued(database: Engine, book: SubmissionBook) -> None:
    archive, step = begun(database)
    first = book.queue(archive, step, 10, None)
    assert book.queue(archive, step, 10, None).id == first.id
    assert book.of_step(step) == first


def test_every_attempt_gets_a_name_of_its_own_whether_or_not_one_before_was_sent(
    database: Engine, book: SubmissionBook
) -> None:
    archive, step = begun(database)
    steps = [step, *(derived_id("step", archive, 0, attempt) for attempt in (2, 3))]
    with database.begin() as connection:
        for attempt, each in enumerate(steps[1:], 2):
            connection.execute(
                text("INSERT INTO step (id, archive_id, name, position, attempt) VALUES (:id, :a, 'ingest', 0, :n)"),
                {"id": each, "a": archive, "n": attempt},
            )
    names = [book.queue(archive, each, 10, None).name for each in (*steps, *steps)]
    assert names == [str(archive), f"{archive}-2", f"{archive}-3"] * 2


def test_what_is_noted_is_read_back(database: Engine, book: SubmissionBook) -> None:
    mine = queued(database, book)
    changed = replace(mine, state="followed", instance="one", transfer=new_id(), sip=new_id(), status="PROCESSING",
                      microservice="Normalize", moved_at=mine.queued_at, sent_at=mine.queued_at)  # fmt: skip
    book.note(changed)
    assert book.of_step(mine.step) == changed


@pytest.mark.parametrize("change", ["step is over", "place was taken", None])
def test_nothing_is_sent_for_a_step_that_is_over(database: Engine, book: SubmissionBook, change: str | None) -> None:
    mine = book.reserve(queued(database, book), [ONE])
    assert isinstance(mine, Submission)
    if change == "step is over":
        with database.begin() as connection:
            connection.execute(text("UPDATE step SET state = 'cancelled' WHERE id = :id"), {"id": mine.step})
    elif change:
        book.note(replace(mine, state="closed", outcome="not-sent"))
    asked = replace(mine, state="unsure", sent_at=mine.queued_at)
    assert book.sending(asked) is (change is None)
    found = book.of_step(mine.step)
    assert found is not None
    assert (found.sent_at is None) is (change is not None)


def test_the_emptiest_instance_is_chosen_until_all_are_full(database: Engine, book: SubmissionBook) -> None:
    kept = [book.reserve(queued(database, book), [ONE, TWO]) for _ in range(7)]
    names = [each.instance if isinstance(each, Submission) else None for each in kept]
    assert names[0] == "one"
    assert (names.count("one"), names.count("two"), names.count(None)) == (2, 4, 1)
    assert [each.ahead for each in kept if isinstance(each, Submission)].count(0) == 2


def test_bytes_count_as_well_as_packages(database: Engine, book: SubmissionBook) -> None:
    assert isinstance(book.reserve(queued(database, book, 900), [TWO]), Submission)
    assert isinstance(book.reserve(queued(database, book, 200), [TWO]), str)


def test_who_waits_longer_goes_first(database: Engine, book: SubmissionBook) -> None:
    full = [queued(database, book) for _ in range(2)]
    assert all(isinstance(book.reserve(each, [ONE]), Submission) for each in full)
    first, second = queued(database, book), queued(database, book)
    kept = book.of_step(full[0].step)
    assert kept is not None
    book.note(replace(kept, state="closed"))
    assert book.reserve(second, [ONE]) == "others were queued before"
    assert isinstance(book.reserve(first, [ONE]), Submission)


def test_who_waits_for_another_instance_holds_up_nobody(database: Engine, book: SubmissionBook) -> None:
    with database.begin() as connection:
        archivematica.set_mode(connection, "one", "draining", "maintenance", ["one"])
    queued(database, book, 50_000)
    refused = queued(database, book)
    book.note(replace(refused, refused=("two",)))
    queued(database, book, wanted="one")
    for _ in range(TWO.packages):
        assert isinstance(book.reserve(queued(database, book), [ONE, TWO]), Submission)


def test_as_many_go_at_once_as_there_are_places(database: Engine, book: SubmissionBook) -> None:
    older = [queued(database, book) for _ in range(2)]
    mine = queued(database, book)
    kept = book.reserve(mine, [TWO])
    assert isinstance(kept, Submission)
    assert all(isinstance(book.reserve(each, [TWO]), Submission) for each in older)


def test_a_package_that_waits_for_much_room_is_kept_it_after_a_while(database: Engine, book: SubmissionBook) -> None:
    kept = book.reserve(queued(database, book, 200), [TWO])
    assert isinstance(kept, Submission)
    large = queued(database, book, 900)
    assert isinstance(book.reserve(queued(database, book), [TWO]), Submission)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE archivematica_submission SET queued_at = queued_at - interval '2 hours' WHERE id = :id"),
            {"id": large.id},
        )
    assert book.reserve(queued(database, book), [TWO]) == "others were queued before"
    assert isinstance(book.reserve(queued(database, book), [ONE, TWO]), Submission)


def test_a_step_that_waits_keeps_its_place_in_the_queue_though_nobody_looked_lately(
    database: Engine, book: SubmissionBook
) -> None:
    older = [queued(database, book) for _ in range(TWO.packages)]
    with database.begin() as connection:
        connection.execute(text("UPDATE archivematica_submission SET looked_at = now() - interval '1 hour'"))
    assert isinstance(book.reserve(queued(database, book), [ONE]), Submission)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE step SET state = 'waiting' WHERE id = ANY(:ids)"), {"ids": [each.step for each in older]}
        )
    assert book.reserve(queued(database, book), [TWO]) == "others were queued before"


def test_drained_paused_and_unreachable_instances_get_nothing_new(database: Engine, book: SubmissionBook) -> None:
    for mode in ("draining", "paused"):
        with database.begin() as connection:
            archivematica.set_mode(connection, "one", mode, "maintenance", ["one"])
        assert book.reserve(queued(database, book), [ONE]) == f"one: {mode} (maintenance)"
    with database.begin() as connection:
        archivematica.set_mode(connection, "one", "active", "", ["one"])
    book.seen("one", None, "no answer")
    assert "unreachable" in str(book.reserve(queued(database, book), [ONE]))
    book.seen("one", Probe("1.17.0", "x"))
    assert isinstance(book.reserve(queued(database, book), [ONE]), Submission) or True


def test_failures_in_a_row_pause_an_instance_and_a_success_ends_that(database: Engine, book: SubmissionBook) -> None:
    book.seen("one", Probe("1.17.0", "x"))
    for _ in range(3):
        book.met("one", "it failed")
    with database.connect() as connection:
        (state,) = archivematica.instances(connection)
    assert (state.mode, state.reason) == ("paused", "it failed")
    book.met("one", None)
    with database.connect() as connection:
        (state,) = archivematica.instances(connection)
    assert (state.mode, state.failures) == ("active", 0)


def test_a_person_who_paused_an_instance_is_not_overruled_by_a_success(database: Engine, book: SubmissionBook) -> None:
    with database.begin() as connection:
        archivematica.set_mode(connection, "one", "paused", "by hand", ["one"])
    book.met("one", None)
    with database.connect() as connection:
        (state,) = archivematica.instances(connection)
    assert (state.mode, state.reason) == ("paused", "by hand")


def test_the_driver_works_with_this_book_as_with_that_in_memory(database: Engine, book: SubmissionBook) -> None:
    from perdura.storage.memory import MemoryStore

    store, clock = MemoryStore(), SteppedClock()
    fake = FakeArchivematica(Pipeline(store, clock, slots=2))
    driver = Driver(store, clock, {"one": instance(fake)})
    driver.use(book)
    for number in range(4):
        archive, step = begun(database)
        driver.add(number, archive=archive, step=step)
    driver.run(3600, tick=5)
    assert all(case.state is StepState.COMPLETED for case in driver.cases.values())
    assert len({unit.name for unit in fake.pipeline.started}) == 4


def test_an_aip_whose_request_had_no_answer_is_found_when_the_database_is_in_another_zone(
    database: Engine, owner: Engine
) -> None:
    with owner.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {database.url.database} SET timezone TO 'Europe/Zurich'"))
    database.dispose()
    scene = Scene()
    scene.driver.use(SubmissionBook(database, limit=5, pause=1))
    archive, step = begun(database)
    case = scene.driver.add(1, archive=archive, step=step)
    scene.pipeline.default_plan = Plan(post="reset-created")
    scene.driver.run(24 * 3600, tick=30)
    assert case.state is StepState.COMPLETED, case.outcome
    assert len(scene.pipeline.stored) == 1


@pytest.mark.chaos
@pytest.mark.timeout(500)
def test_in_bad_weather_each_package_ends_in_one_aip_or_by_name_with_this_book_too(
    database: Engine, book: SubmissionBook
) -> None:
    del book  # it was emptied; here pauses pass quickly, for they are of the database's clock
    chance = random.Random(3)
    scene = Scene("one", "two", "three", noise=0.03, slots=3)
    scene.fakes["three"].version = "1.19.0"
    scene.driver.deaths = 0.01
    scene.driver.use(SubmissionBook(database, limit=5, pause=0.01))
    for number in range(25):
        archive, step = begun(database)
        scene.driver.add(number, archive=archive, step=step)
        plan = any_plan(chance)
        for pipeline in scene.pipelines.values():
            pipeline.plans[str(archive)] = plan
    scene.pipelines["one"].configurations = ["default"]
    scene.driver.run(400 * 3600, tick=60)
    cases = scene.driver.cases.values()
    assert all(case.state in FINAL for case in cases)
    assert max(scene.started().values()) == 1
    assert max(aips_of(scene).values()) == 1
    done = [case for case in cases if case.state in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}]
    assert len({case.outcome.packages[0].id for case in done if case.outcome}) == len(done) > 15
    assert all(case.outcome and case.outcome.error_code and case.outcome.message for case in cases if case not in done)
    assert sum(case.died for case in cases) > 0
    assert scene.pipelines["one"].started == []


def closed(database: Engine, archive: UUID, number: int, files: dict[str, str]) -> UUID:
    """Close a preserve step with an AIP that has those files."""
    aip = new_id()
    package = Package(aip, PackageKind.AIP, "aips", f"{archive}/{aip}.tar", "tar", 10, checksums={"sha256": "ab"})
    outcome = Outcome(
        StepState.COMPLETED,
        packages=(package,),
        copies=(Copy(aip, "object-store", "s3://x", 10, {"sha256": "ab"}),),
        files=((aip, tuple(File(path, 1, {"sha256": digest}) for path, digest in files.items())),),
    )
    with database.begin() as connection:
        row = connection.execute(
            text("SELECT id FROM step WHERE archive_id = :a AND name = 'preserve' ORDER BY position DESC LIMIT 1"),
            {"a": archive},
        ).scalar_one()
        started = work.start(connection, row, _cause(number))
        assert started is not None
        work.close(connection, started, outcome)
        connection.execute(
            text("UPDATE step SET state = 'completed' WHERE archive_id = :a AND state = 'queued'"), {"a": archive}
        )
    return aip


def _cause(number: int) -> object:
    from datetime import UTC, datetime

    from perdura.cloudevents.build import build

    data = {"archive": new_id(), "step": new_id(), "attempt": 1}
    return build("org.perdura.preserve.requested.v1", data, source="/t", at=datetime.now(UTC), key=(number, new_id()))


def test_a_new_version_refers_to_its_predecessor_and_rollback_is_choosing_the_older(database: Engine) -> None:
    archive, first = begun(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'completed' WHERE id = :id"), {"id": first})
        connection.execute(
            text("INSERT INTO step (id, archive_id, name, position) VALUES (:id, :a, 'preserve', 1)"),
            {"id": derived_id("step", archive, 1, 1), "a": archive},
        )
    one = closed(database, archive, 1, {"a": "11", "b": "22", "c": "33"})
    added = {"path": "d", "bucket": "sips", "key": "k", "size": 1, "sha256": "44" * 32}
    with database.begin() as connection:
        begun_again = preservation.preserve_again(connection, archive, reason="a file came late", additions=[added])
    assert len(begun_again.events) == 1
    with database.connect() as connection:
        pipeline = connection.execute(text("SELECT pipeline FROM archive WHERE id = :a"), {"a": archive}).scalar_one()
        assert pipeline == [*PIPELINE, "preserve", "publish"]
    two = closed(database, archive, 2, {"a": "11", "b": "99", "moved": "33", "d": "44"})
    with database.connect() as connection:
        found = preservation.versions(connection, archive)
    assert [(each.package, each.number, each.predecessor, each.chosen) for each in found] == [
        (one, 1, None, False),
        (two, 2, one, True),
    ]
    assert found[1].reason == "a file came late"
    with database.connect() as connection:
        changes = {(each.kind, each.path, each.was) for each in preservation.difference(connection, one, two, 100)}
        assert len(preservation.difference(connection, one, two, 1)) == 1
    assert changes == {("changed", "b", None), ("moved", "moved", "c"), ("added", "d", None)}
    with database.begin() as connection:
        preservation.choose(connection, archive, one)
    with database.connect() as connection:
        assert [each.chosen for each in preservation.versions(connection, archive)] == [True, False]


def test_a_cancelled_step_keeps_its_place_until_what_it_left_is_over(database: Engine, book: SubmissionBook) -> None:
    archive, step = begun(database)
    mine = book.queue(archive, step, 10, None)
    kept = book.reserve(mine, [ONE])
    assert isinstance(kept, Submission)
    followed = replace(kept, state="followed", transfer=new_id(), sent_at=kept.queued_at)
    book.note(followed)
    assert book.left(10) == []
    with database.begin() as connection:
        steering.cancel(connection, archive, by="a person")
    assert book.left(10) == [followed]
    assert _load(database) == [("one", 1, 10)]
    with database.begin() as connection:
        connection.execute(text("UPDATE archivematica_submission SET looked_at = looked_at - interval '25 hours'"))
    assert _load(database) == [("one", 0, 0)]
    book.note(followed)
    assert _load(database) == [("one", 1, 10)]
    book.note(replace(followed, state="closed", outcome="ingested"))
    assert (book.left(10), _load(database)) == ([], [("one", 0, 0)])


def test_what_a_living_step_has_there_counts_however_long_nobody_looked(database: Engine, book: SubmissionBook) -> None:
    assert isinstance(book.reserve(queued(database, book), [ONE]), Submission)
    with database.begin() as connection:
        connection.execute(text("UPDATE archivematica_submission SET looked_at = looked_at - interval '25 hours'"))
    assert (book.left(10), _load(database)) == ([], [("one", 1, 10)])


def _load(database: Engine) -> list[tuple[str, int, int]]:
    with database.connect() as connection:
        return [(each.name, each.packages, each.bytes) for each in archivematica.instances(connection)]


def test_the_whole_history_of_an_archive_is_read_page_by_page(database: Engine) -> None:
    archive, _ = begun(database)
    at = datetime(2026, 11, 24, tzinfo=UTC)
    told = [
        Event(derived_id("long", archive, number), "fixity check", at, objects=(Identifier("UUID", str(archive)),))
        for number in range(1200)
    ]
    with database.begin() as connection:
        log.append(connection, told, actor="test")
    logged = LoggedEvents(database, archive)
    ids = [event.id for event in logged]
    assert ids[-1200:] == [event.id for event in told]
    assert [event.id for event in logged] == ids


def test_packages_that_end_alike_in_a_row_pause_an_instance_until_an_aip_comes_of_one(
    database: Engine, book: SubmissionBook
) -> None:
    book.seen("one", Probe("1.17.0", "x"))
    for kind in ("infected", "infected", "not-unpacked", "infected", "infected"):
        book.ended("one", kind, "why")
        book.met("one", None)
    assert state_of(database).mode == "active"
    book.ended("one", "infected", "why")
    assert (state_of(database).mode, state_of(database).reason) == (
        "paused",
        "3 packages in a row ended alike (infected). why",
    )
    book.met("one", None)
    assert state_of(database).mode == "paused"
    book.ended("one", None)
    assert state_of(database).mode == "active"


def test_a_person_who_resumes_an_instance_has_the_counting_begin_anew(database: Engine, book: SubmissionBook) -> None:
    book.seen("one", Probe("1.17.0", "x"))
    for _ in range(3):
        book.ended("one", "infected", "why")
    with database.begin() as connection:
        archivematica.set_mode(connection, "one", "active", "", ["one"])
    book.ended("one", "infected", "why")
    assert state_of(database).mode == "active"


def state_of(database: Engine) -> archivematica.InstanceState:
    with database.connect() as connection:
        (state,) = archivematica.instances(connection)
    return state


def test_instances_that_refused_a_package_are_read_back(database: Engine, book: SubmissionBook) -> None:
    mine = replace(queued(database, book), refused=("one", "two"))
    book.note(mine)
    assert book.of_step(mine.step) == mine
