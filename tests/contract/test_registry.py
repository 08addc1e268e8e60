"""The registry against a real PostgreSQL: what is written once stays written once, guards hold, claims exclude."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict, NotFound
from perdura.ids import new_id
from perdura.outcome import (
    ArchiveChange,
    Copy,
    File,
    Finding,
    Outcome,
    Package,
    PackageKind,
    StepState,
)
from perdura.premis.model import Identifier
from perdura.registry import (
    access_tables,
    archive_index,
    archives,
    deposits,
    duties,
    embargo_by_hand,
    inbox,
    job_tables,
    migrate,
    outbox,
    restriction,
    tables,
    tape_tables,
    turn_tables,
    work,
)
from perdura.registry.intents import RegistryIntents

pytestmark = pytest.mark.stack

CAUSE = CloudEvent(id="1", source="/test", type="t", extensions={"correlationid": "c", "traceparent": "00-a-b-01"})
ARRIVAL = deposits.Arrival("incoming", "bag.zip", None, "etag", 10)


def _one(database: Engine, statement: str, **values: object) -> object:
    with database.begin() as connection:
        return connection.execute(text(statement), values).scalar()


def _begin(database: Engine, arrival: deposits.Arrival = ARRIVAL) -> tuple[UUID, UUID]:
    with database.begin() as connection:
        begun = deposits.receive(connection, arrival, source="/test")
    return begun.archive, archives.first_step_id(begun.archive)


def _start(database: Engine, step: UUID) -> work.Started:
    with database.begin() as connection:
        started = work.start(connection, step, CAUSE)
    assert started is not None
    return started


def _close(database: Engine, started: work.Started, outcome: Outcome) -> work.Next:
    with database.begin() as connection:
        return work.close(connection, started, outcome)


def _package(kind: PackageKind = PackageKind.SIP) -> Package:
    return Package(new_id(), kind, "sips", "k", "zip", 10, "v1", "e", {"sha256": "ab"})


@pytest.mark.parametrize("decided", [True, False])
def test_what_a_person_decided_on_a_restriction_no_source_changes(database: Engine, decided: bool) -> None:
    archive, step = _begin(database)
    started = _start(database, step)
    by = Identifier("account", "1", ("authorizer",))
    with database.begin() as connection:
        assert restriction.decide(connection, archive, restricted=decided, reason="", by=by)
        assert not restriction.decide(connection, archive, restricted=decided, reason="", by=by)
    _close(database, started, Outcome(StepState.COMPLETED, archive=ArchiveChange(restricted=not decided)))
    assert _one(database, "SELECT restricted FROM archive WHERE id = :id", id=archive) is decided


def test_without_such_a_decision_the_word_of_the_source_holds(database: Engine) -> None:
    archive, step = _begin(database)
    _close(database, _start(database, step), Outcome(StepState.COMPLETED, archive=ArchiveChange(restricted=True)))
    assert _one(database, "SELECT restricted FROM archive WHERE id = :id", id=archive) is True


def _told(database: Engine, started: work.Started, **metadata: object) -> object:
    """The end of the embargo on an Archive after a step has told so much of it."""
    _close(database, started, Outcome(StepState.COMPLETED, archive=ArchiveChange(metadata=metadata)))
    told = "SELECT metadata ->> 'embargo_until' FROM archive WHERE id = :id"
    return _one(database, told, id=started.archive.id)


@pytest.mark.parametrize("decided", [date(2099, 12, 31), date(2026, 12, 31), None])
@pytest.mark.parametrize("under_way", [True, False])
def test_an_embargo_that_a_person_set_or_lifted_no_source_changes(
    database: Engine, decided: date | None, under_way: bool
) -> None:
    archive, step = _begin(database)
    started = _start(database, step) if under_way else None
    with database.begin() as connection:
        embargo_by_hand.decide(connection, archive, decided)
    told = _told(database, started or _start(database, step), embargo_until="2027-06-01", embargo_by_hand=False)
    assert told == (decided.isoformat() if decided else None)


def test_of_two_embargoes_that_nobody_decided_by_hand_the_later_counts(database: Engine) -> None:
    archive, step = _begin(database)
    assert _told(database, _start(database, step), embargo_until="2028-01-01") == "2028-01-01"
    for told, holds in (("2027-01-01", "2028-01-01"), ("2029-01-01", "2029-01-01")):
        following = _one(database, "SELECT id FROM step WHERE archive_id = :id AND state = 'queued'", id=archive)
        assert isinstance(following, UUID)
        assert _told(database, _start(database, following), embargo_until=told) == holds


def test_upgrading_twice_changes_nothing(owner: Engine) -> None:
    migrate.upgrade(owner)
    with owner.connect() as connection:
        assert migrate.current(connection) == migrate.HEAD


def test_the_migrations_make_the_tables_that_the_code_declares(owner: Engine) -> None:
    assert access_tables.Placement.metadata is tables.Base.metadata
    assert tape_tables.TapeJob.metadata is tables.Base.metadata
    assert turn_tables.Turn.metadata is tables.Base.metadata
    assert {archive_index.ArchiveIndex.metadata, job_tables.Job.metadata} == {tables.Base.metadata}
    own = set(tables.Base.metadata.tables) - {name for name in tables.Base.metadata.tables if name.startswith("premis")}
    with owner.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "include_name": lambda name, kind, _: kind != "table" or name in own},
        )
        differences = [
            difference
            for difference in compare_metadata(context, tables.Base.metadata)
            # PostgreSQL rewrites the text of an index on an expression; it cannot be compared.
            if not re.search(r"premis|ix_archive_search|ix_step_recalled", str(difference))
        ]
    assert differences == []


def test_the_newest_migration_is_known() -> None:
    newest = max(path.name[:4] for path in (Path(migrate.__file__).parent / "migrations/versions").glob("0*.py"))
    assert newest == migrate.HEAD


def test_an_object_reported_twice_is_one_archive(database: Engine) -> None:
    with database.begin() as connection:
        first = deposits.receive(connection, ARRIVAL, source="/webhook")
        second = deposits.receive(connection, ARRIVAL, source="/sweep")
    assert first.archive == second.archive
    assert len(first.events) == 1
    assert second.events == ()
    assert _one(database, "SELECT count(*) FROM outbox") == 1


def test_another_content_under_the_same_key_is_another_archive(database: Engine) -> None:
    first, _ = _begin(database)
    second, _ = _begin(database, replace(ARRIVAL, etag="other"))
    assert first != second


def test_an_announced_deposit_begins_with_its_first_report(database: Engine) -> None:
    with database.begin() as connection:
        announced = deposits.announce(connection, bucket="incoming", filename="../b.zip", size=10, sha256="ab")
        assert "b.zip" not in announced.key
        arrival = replace(ARRIVAL, key=announced.key)
        begun = deposits.receive(connection, arrival, source="/webhook")
        again = deposits.receive(connection, arrival, source="/api")
        assert deposits.find(connection, announced.id) == announced
    assert begun.archive == again.archive == announced.archive
    assert (len(begun.events), len(again.events)) == (1, 0)
    started = _start(database, archives.first_step_id(begun.archive))
    assert started.archive.step.input["expected_sha256"] == "ab"
    assert started.archive.title == "../b.zip"


def test_a_deposit_reported_from_two_sides_at_once_is_one_archive(database: Engine) -> None:
    with database.begin() as connection:
        announced = deposits.announce(connection, bucket="incoming", filename="b.zip")
    arrival = replace(ARRIVAL, key=announced.key)
    begun: list[archives.Begun] = []

    def report() -> None:
        with database.begin() as connection:
            begun.append(deposits.receive(connection, arrival, source="/api"))

    other = threading.Thread(target=report)
    with database.begin() as connection:
        begun.append(deposits.receive(connection, arrival, source="/webhook"))
        other.start()
        # The other side waits for the row that this transaction holds.
        other.join(0.3)
    other.join()
    assert {each.archive for each in begun} == {announced.archive}
    assert sorted(len(each.events) for each in begun) == [0, 1]
    assert _one(database, "SELECT count(*) FROM archive") == 1


def test_unknown_deposits_are_not_found(database: Engine) -> None:
    with database.connect() as connection, pytest.raises(NotFound):
        deposits.find(connection, new_id())


def test_the_sweep_finds_only_what_nobody_began(database: Engine) -> None:
    _begin(database)
    other = replace(ARRIVAL, key="lost.zip")
    with database.begin() as connection:
        announced = deposits.announce(connection, bucket="incoming", filename="b.zip")
        uploaded = replace(ARRIVAL, key=announced.key)
        assert deposits.unknown_keys(connection, [ARRIVAL, other, uploaded]) == [other, uploaded]
        deposits.receive(connection, uploaded, source="/sweep")
        assert deposits.unknown_keys(connection, [ARRIVAL, other, uploaded]) == [other]


def test_what_a_notification_began_is_found_by_a_sweep_that_knows_no_versions(database: Engine) -> None:
    notified = replace(ARRIVAL, version_id="3sL4kqtJlcpXroDTDmJ-rmSpXd3dIbrHY")
    with database.begin() as connection:
        begun = deposits.receive(connection, notified, source="/webhook")
        assert deposits.unknown_keys(connection, [ARRIVAL]) == []
        again = deposits.receive(connection, ARRIVAL, source="/sweep")
    assert (again.archive, again.events) == (begun.archive, ())
    assert _one(database, "SELECT count(*) FROM archive") == 1


def test_a_step_goes_on_to_the_next(database: Engine) -> None:
    archive, step = _begin(database)
    started = _start(database, step)
    assert started.cause is not None
    assert started.cause.extensions["traceparent"] == "00-a-b-01"
    sip = _package()
    following = _close(
        database,
        started,
        Outcome(
            packages=(sip,),
            copies=(Copy(sip.id, "object-store", "s3://sips/k", 10, {"sha256": "ab"}, datetime.now(UTC)),),
            files=((sip.id, (File("data/a", 10, {"md5": "cd"}, 512, "Text", "x-fmt/111", "text/plain"),)),),
            archive=ArchiveChange(title="A title", metadata={"year": 2026}, source="zenodo", recid="1"),
        ),
    )
    assert following.name == "preserve"
    assert following.step is not None
    after = _start(database, following.step)
    assert after.archive.title == "A title"
    assert after.archive.metadata == {"year": 2026}
    assert (after.archive.source, after.archive.recid) == ("zenodo", "1")
    kept = after.archive.package(PackageKind.SIP)
    assert kept is not None
    assert kept.recorded_at is not None
    assert replace(kept, recorded_at=None) == sip
    assert after.archive.copies[0].uri == "s3://sips/k"
    assert _one(database, "SELECT path FROM package_file") == "data/a"
    assert _one(database, "SELECT state FROM archive WHERE id = :id", id=archive) == "running"


def test_a_pipeline_ends_with_a_completed_archive(database: Engine) -> None:
    archive, step = _begin(database)
    for _ in range(4):
        following = _close(database, _start(database, step), Outcome())
        step = following.step or step
    assert following.step is None
    assert _one(database, "SELECT state FROM archive WHERE id = :id", id=archive) == "completed"


def test_warnings_of_any_step_show_in_the_archive(database: Engine) -> None:
    archive, step = _begin(database)
    state = StepState.COMPLETED_WITH_WARNINGS
    for _ in range(4):
        following = _close(database, _start(database, step), Outcome(state=state))
        step, state = following.step or step, StepState.COMPLETED
    assert _one(database, "SELECT state FROM archive WHERE id = :id", id=archive) == "completed_with_warnings"


def test_a_finished_step_is_never_run_again(database: Engine) -> None:
    _, step = _begin(database)
    started = _start(database, step)
    _close(database, started, Outcome())
    with database.begin() as connection:
        assert work.start(connection, step, CAUSE) is None
    with pytest.raises(Conflict), database.begin() as connection:
        work.close(connection, started, Outcome())


def test_a_rejected_package_is_kept_but_not_accepted(database: Engine) -> None:
    archive, step = _begin(database)
    started = _start(database, step)
    sip = replace(_package(), accepted=False)
    _close(
        database,
        started,
        Outcome(
            state=StepState.FAILED,
            error_code="not-a-bag",
            message="no bagit.txt",
            findings=(Finding("not-a-bag", "no bagit.txt"),),
            packages=(sip,),
            archive=ArchiveChange(rejected=True),
        ),
    )
    assert _one(database, "SELECT state FROM archive WHERE id = :id", id=archive) == "rejected"
    with database.begin() as connection:
        retried = archives.retry(connection, archive)
    assert len(retried.events) == 1
    again = _start(database, UUID(retried.events[0].data["step"]))
    assert again.archive.step.attempt == 2
    assert again.archive.package(PackageKind.SIP) is None
    assert [replace(each, recorded_at=None) for each in again.archive.packages] == [sip]


def test_only_failed_or_blocked_steps_are_retried(database: Engine) -> None:
    archive, step = _begin(database)
    with database.begin() as connection, pytest.raises(Conflict):
        archives.retry(connection, archive)
    _close(database, _start(database, step), Outcome(state=StepState.BLOCKED, error_code="x", message="y"))
    with database.begin() as connection:
        archives.retry(connection, archive)
    assert _one(database, "SELECT state FROM step WHERE id = :id", id=step) == "cancelled"
    with database.begin() as connection, pytest.raises(NotFound):
        archives.retry(connection, new_id())


def test_a_continuation_is_the_same_step_queued_again(database: Engine) -> None:
    _, step = _begin(database)
    following = _close(database, _start(database, step), Outcome(state=StepState.QUEUED, checkpoint={"done": 3}))
    assert following.step == step
    assert _start(database, step).archive.step.checkpoint == {"done": 3}
    assert _one(database, "SELECT count(*) FROM step") == 1


def test_waiting_steps_come_up_when_their_time_has_come(database: Engine) -> None:
    _, step = _begin(database)
    later = datetime.now(UTC) + timedelta(hours=1)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=later, checkpoint={"job": 1}))
    with database.begin() as connection:
        assert work.waiting(connection, "ingest", 10) == []
        connection.execute(text("UPDATE step SET poll_at = now()"))
    with database.begin() as one, database.begin() as other:
        (waiting,) = work.waiting(one, "ingest", 10)
        assert work.waiting(other, "ingest", 10) == []
        assert waiting.archive.step.checkpoint == {"job": 1}
    with database.begin() as connection:
        assert work.waiting(connection, "ingest", 10) == [], "it is being looked at"
        assert work.still_waiting(connection, [waiting]) == {step}
        assert work.close(connection, waiting, Outcome()).name == "preserve"
        assert work.still_waiting(connection, [waiting]) == set()


def test_a_look_that_lasted_too_long_is_not_the_one_that_counts(database: Engine) -> None:
    _, step = _begin(database)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=datetime.now(UTC)))
    with database.begin() as connection:
        (slow,) = work.waiting(connection, "ingest", 10)
        connection.execute(text("UPDATE step SET held_until = clock_timestamp()"))
    with database.begin() as connection:
        (second,) = work.waiting(connection, "ingest", 10)
        assert work.still_waiting(connection, [slow]) == set()
        assert work.still_waiting(connection, [second]) == {step}


def test_a_step_that_is_started_while_it_is_looked_at_waits_for_as_long_as_its_outcome_says(database: Engine) -> None:
    _, step = _begin(database)
    now = datetime.now(UTC)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=now))
    with database.begin() as connection:
        assert work.waiting(connection, "ingest", 10)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=now + timedelta(seconds=5)))
    with database.connect() as connection:
        found = connection.execute(text("SELECT poll_at, held_until FROM step WHERE id = :id"), {"id": step}).one()
    assert (found.poll_at, found.held_until) == (now + timedelta(seconds=5), None)


def test_a_step_that_is_to_be_looked_at_at_once_while_it_is_looked_at_comes_up_right_after(database: Engine) -> None:
    _, step = _begin(database)
    later = datetime.now(UTC) + timedelta(hours=1)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=datetime.now(UTC)))
    with database.begin() as connection:
        (waiting,) = work.waiting(connection, "ingest", 10)
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET poll_at = clock_timestamp()"))
        assert work.waiting(connection, "ingest", 10) == [], "it is held"
    with database.begin() as connection:
        work.close(connection, waiting, Outcome(state=StepState.WAITING, poll_at=later))
        (again,) = work.waiting(connection, "ingest", 10)
        work.close(connection, again, Outcome(state=StepState.WAITING, poll_at=later))
        assert work.waiting(connection, "ingest", 10) == [], "once is enough"


def test_a_postponed_step_says_why_and_runs_again(database: Engine) -> None:
    _, step = _begin(database)
    _start(database, step)
    with database.begin() as connection:
        work.postpone(connection, step, "store-unavailable", "The store did not answer.", 2)
    assert _one(database, "SELECT state || ' ' || error_code FROM step") == "queued store-unavailable"
    assert _start(database, step).deliveries == 2
    assert _one(database, "SELECT error_code FROM step") is None


def test_the_watchdog_asks_again_for_what_is_stuck_and_no_more_often_than_needed(database: Engine) -> None:
    _, step = _begin(database)
    with database.begin() as connection:
        assert duties.ask_again(connection, "/relay") == []
        connection.execute(text("UPDATE step SET poll_at = now() - interval '1 day'"))
        (event,) = duties.ask_again(connection, "/relay")
        assert event.data["step"] == str(step)
        assert duties.ask_again(connection, "/relay") == []


def test_a_waiting_step_that_nothing_polls_is_asked_for_again(database: Engine) -> None:
    _, step = _begin(database)
    soon = datetime.now(UTC) - timedelta(seconds=1)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=soon))
    with database.begin() as connection:
        (event,) = duties.ask_again(connection, "/relay")
    assert event.data["step"] == str(step)
    assert _start(database, step).deliveries == 2


def test_polled_steps_are_left_to_their_ticks(database: Engine) -> None:
    _, step = _begin(database)
    soon = datetime.now(UTC) - timedelta(seconds=1)
    _close(database, _start(database, step), Outcome(state=StepState.WAITING, poll_at=soon))
    with database.begin() as connection:
        connection.execute(text("UPDATE step SET name = 'archive'"))
        assert duties.ask_again(connection, "/relay") == []


def test_a_step_may_end_its_pipeline_by_cancelling(database: Engine) -> None:
    archive, step = _begin(database)
    _close(database, _start(database, step), Outcome(state=StepState.CANCELLED, error_code="unchanged"))
    assert _one(database, "SELECT state FROM archive WHERE id = :id", id=archive) == "cancelled"


def _archived(database: Engine) -> UUID:
    """An Archive that went all the way, with a copy on tape."""
    archive, step = _begin(database)
    for name in ("ingest", "preserve", "archive", "publish"):
        outcome = Outcome()
        if name == "preserve":
            aip = _package(PackageKind.AIP)
            outcome = Outcome(packages=(aip,), copies=(Copy(aip.id, "tape", "davs://tape/a", 10, {}),))
        following = _close(database, _start(database, step), outcome)
        step = following.step or step
    return archive


def test_a_recall_leaves_the_state_of_its_archive_alone(database: Engine) -> None:
    archive = _archived(database)
    for state in (StepState.COMPLETED, StepState.FAILED):
        with database.begin() as connection:
            begun = archives.recall(connection, archive, file="data/a")
        started = _start(database, UUID(begun.events[0].data["step"]))
        (aip,) = started.archive.packages
        assert started.archive.step.input == {"file": "data/a", "package": str(aip.id)}
        following = _close(database, started, Outcome(state=state, error_code="x", message="y"))
        assert (following.archive_state, following.step) == (None, None)
        assert _one(database, "SELECT state FROM archive WHERE id = :id", id=archive) == "completed"
    with database.begin() as connection, pytest.raises(Conflict):
        archives.retry(connection, archive)


def test_only_what_is_on_tape_is_recalled(database: Engine) -> None:
    archive, _ = _begin(database)
    with database.begin() as connection, pytest.raises(Conflict):
        archives.recall(connection, archive)
    with database.begin() as connection, pytest.raises(NotFound):
        archives.recall(connection, new_id())


def test_a_duty_is_due_once_per_interval(database: Engine) -> None:
    intervals = {"seal": timedelta(hours=1), "watch": timedelta(0)}
    with database.begin() as connection:
        assert duties.due(connection, intervals) == {"seal", "watch"}
        assert duties.due(connection, intervals) == {"watch"}


def test_one_event_is_worked_on_by_one_at_a_time(database: Engine) -> None:
    with database.begin() as one, database.begin() as other:
        assert inbox.claim(one, "ingest", CAUSE, "step 1") is inbox.Claim.OURS
        assert inbox.claim(other, "ingest", CAUSE, "step 1") is inbox.Claim.BUSY
        assert inbox.claim(other, "ingest", replace(CAUSE, id="2"), "step 1") is inbox.Claim.BUSY
        assert inbox.claim(other, "preserve", replace(CAUSE, id="3"), "step 2") is inbox.Claim.OURS
        outbox.write(one, [], finished=("ingest", CAUSE))
    with database.begin() as connection:
        assert inbox.claim(connection, "ingest", CAUSE, "step 1") is inbox.Claim.FINISHED


def test_finishing_an_event_twice_fails(database: Engine) -> None:
    with database.begin() as connection:
        outbox.write(connection, [], finished=("ingest", CAUSE))
    with pytest.raises(IntegrityError), database.begin() as connection:
        outbox.write(connection, [], finished=("ingest", CAUSE))


def test_a_dead_workers_claim_is_free_at_once(database: Engine) -> None:
    dying = database.connect()
    dying.begin()
    assert inbox.claim(dying, "ingest", CAUSE, "step 1") is inbox.Claim.OURS
    dying.invalidate()
    dying.close()
    with database.begin() as connection:
        assert inbox.claim(connection, "ingest", CAUSE, "step 1") is inbox.Claim.OURS


def test_events_leave_the_outbox_in_order_and_once(database: Engine) -> None:
    for number in range(3):
        _begin(database, replace(ARRIVAL, key=str(number)))
    with database.begin() as connection:
        assert outbox.due(connection, 10) == []
        connection.execute(text("UPDATE outbox SET next_at = now() - interval '1 s' * (10 - sequence)"))
    with database.begin() as one, database.begin() as other:
        due = outbox.due(one, 10)
        assert outbox.due(other, 10) == []
        outbox.delivered(one, [due[0].id])
        outbox.postpone(one, due[1].id, "503")
    assert [event.data["step"] for event in due] == sorted(
        (event.data["step"] for event in due), key=[event.data["step"] for event in due].index
    )
    with database.begin() as connection:
        assert [event.id for event in outbox.due(connection, 10)] == [due[2].id]
        outbox.prune(connection, timedelta(0))
    assert _one(database, "SELECT count(*) FROM outbox") == 2


def test_an_intent_is_kept_as_first_declared(database: Engine) -> None:
    _, step = _begin(database)
    intents = RegistryIntents(database, step)
    assert intents.declare("job", {"n": 1}) == {"n": 1}
    assert intents.declare("job", {"n": 2}) == {"n": 1}
    assert intents.confirmed("job") is None
    intents.confirm("job", {"id": "x"})
    assert intents.confirmed("job") == {"id": "x"}
