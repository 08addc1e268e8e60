"""A function's contract (architecture §3), with a step that counts its effects and a real PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, event, text
from werkzeug.test import Client
from werkzeug.wrappers import Request

from perdura.cloudevents.build import build
from perdura.cloudevents.catalogue import TICK
from perdura.cloudevents.codec import encode_batch
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Broken, Rejected, StoreUnavailable
from perdura.ids import new_id
from perdura.outcome import ArchiveChange, ArchiveView, Outcome, StepState
from perdura.ports import Ports
from perdura.premis import model
from perdura.registry import archives, duties
from perdura.runtime import delivery, function
from perdura.runtime.environment import Environment
from perdura.runtime.room import Room
from perdura.settings import Settings
from tests.contract.delivering import Harness, post, success

pytestmark = pytest.mark.stack


def test_a_step_runs_and_the_next_one_is_asked_for(harness: Harness) -> None:
    _, asked = harness.begin()
    assert post(harness.function(), asked).status_code == 204
    assert [sent.type for sent in harness.emitter.sent] == [
        "org.perdura.preserve.requested.v1",
        "org.perdura.premis.recorded.v1",
    ]
    (following, *_) = harness.emitter.sent
    assert following.extensions["causationid"] == asked.id
    assert following.extensions["correlationid"] == asked.id
    assert following.subject == asked.subject
    assert harness.scalar("SELECT count(*) FROM outbox") == 3


def test_where_strangers_come_in_no_event_is_taken(harness: Harness) -> None:
    _, asked = harness.begin()
    closed = harness.environment.settings.model_copy(update={"takes_events": False})
    vars(harness.environment)["settings"] = closed
    assert post(harness.function(), asked).status_code == 403
    assert harness.effects["run"] == 0
    vars(harness.environment)["settings"] = closed.model_copy(update={"takes_events": True})
    assert post(harness.function(), asked).status_code == 204


def test_where_a_token_is_asked_for_no_event_is_taken_without_it(harness: Harness) -> None:
    _, asked = harness.begin()
    closed = harness.environment.settings.model_copy(update={"events_token": SecretStr("new old")})
    vars(harness.environment)["settings"] = closed
    client = harness.function()
    for shown in (None, "", "new", "Bearer", "Bearer ", "Bearer new old", "Bearer newer", "bearer new"):
        assert post(client, asked, **({} if shown is None else {"Authorization": shown})).status_code == 401
    assert harness.effects["run"] == 0
    assert client.get("/healthz").status_code == 200
    for shown in ("Bearer new", "Bearer old"):
        assert post(client, asked, Authorization=shown).status_code == 204
    assert harness.effects["run"] == 1


def test_a_finished_event_is_acknowledged_and_has_no_second_effect(harness: Harness) -> None:
    _, asked = harness.begin()
    client = harness.function()
    assert [post(client, asked).status_code for _ in range(3)] == [204] * 3
    assert harness.effects["run"] == 1
    assert harness.scalar("SELECT count(*) FROM premis_log") == 1


def test_another_event_for_a_finished_step_has_no_second_effect(harness: Harness) -> None:
    archive, asked = harness.begin()
    client = harness.function()
    post(client, asked)
    again = build(asked.type, asked.data, source="/relay", at=datetime.now(UTC), archive=archive, key="again")
    assert post(client, again).status_code == 204
    assert harness.effects["run"] == 1


def test_concurrent_deliveries_run_once(harness: Harness) -> None:
    _, asked = harness.begin()
    client, inside, leave = harness.function(), threading.Event(), threading.Event()

    def slow(archive: ArchiveView, ports: Ports) -> Outcome:
        inside.set()
        assert leave.wait(30)
        return success(archive, ports)

    harness.run = slow
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(post(client, asked).status_code))
    first.start()
    assert inside.wait(30)
    busy = post(client, asked)
    assert (busy.status_code, busy.headers["Retry-After"]) == (409, "1")
    leave.set()
    first.join()
    assert answers == [204]
    assert post(client, asked).status_code == 204
    assert harness.effects["run"] == 1


def test_a_passing_failure_asks_for_another_try_and_shows_why(harness: Harness) -> None:
    _, asked = harness.begin()
    client = harness.function()

    def unavailable(archive: ArchiveView, ports: Ports) -> Outcome:
        raise StoreUnavailable("The object store did not answer.", retry_after=7)

    harness.run = unavailable
    response = post(client, asked)
    assert (response.status_code, response.headers["Retry-After"], response.get_data()) == (503, "7", b"")
    assert harness.scalar("SELECT state || ' ' || error_code FROM step") == "queued store-unavailable"
    assert harness.emitter.sent == []
    harness.run = None
    assert post(client, asked).status_code == 204
    assert harness.scalar("SELECT state FROM step WHERE position = 0") == "completed"


def patience(harness: Harness, **limits: float) -> None:
    harness.environment.__dict__["settings"] = harness.environment.settings.model_copy(update=limits)


def test_an_outage_blocks_nothing_however_often_the_broker_delivers_again(harness: Harness) -> None:
    patience(harness, retry_limit=2, retry_seconds=3600)
    _, asked = harness.begin()
    client = harness.function()

    def unavailable(archive: ArchiveView, ports: Ports) -> Outcome:
        raise StoreUnavailable("The object store did not answer.")

    harness.run = unavailable
    assert [post(client, asked).status_code for _ in range(6)] == [503] * 6
    long_ago = "UPDATE step SET failures = jsonb_set(failures, '{store-unavailable,since}', '1000')"
    with harness.engine.begin() as connection:
        connection.execute(text(long_ago))
    assert post(client, asked).status_code == 204
    assert harness.scalar("SELECT state FROM archive") == "blocked"


def test_invocations_that_get_on_are_no_failed_tries(harness: Harness) -> None:
    patience(harness, retry_limit=2, retry_seconds=0)
    _, asked = harness.begin()
    client, parts = harness.function(), iter(range(100))

    def gets_on(archive: ArchiveView, ports: Ports) -> Outcome:
        return Outcome(state=StepState.QUEUED, checkpoint={"done": next(parts)})

    def fails(error: Exception) -> Callable[[ArchiveView, Ports], Outcome]:
        def failing(archive: ArchiveView, ports: Ports) -> Outcome:
            raise error

        return failing

    for error in (StoreUnavailable("no answer"), ZeroDivisionError(), StoreUnavailable("no answer")):
        for _ in range(4):
            harness.run = gets_on
            assert post(client, asked).status_code == 204
            asked = [sent for sent in harness.emitter.sent if sent.type == asked.type][-1]
        harness.run = fails(error)
        assert post(client, asked).status_code == 503
    assert harness.scalar("SELECT failures ->> 'internal-error' FROM step") is None
    harness.run = None
    assert post(client, asked).status_code == 204
    assert harness.scalar("SELECT state FROM step WHERE position = 0") == "completed"


def test_a_failure_that_does_not_pass_ends_with_a_person(harness: Harness) -> None:
    patience(harness, retry_limit=2, retry_seconds=0)
    _, asked = harness.begin()
    client = harness.function()

    def unavailable(archive: ArchiveView, ports: Ports) -> Outcome:
        raise StoreUnavailable("The object store did not answer.")

    harness.run = unavailable
    assert [post(client, asked).status_code for _ in range(2)] == [503, 204]
    assert harness.scalar("SELECT state FROM archive") == "blocked"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Rejected("The bag has no manifest.", code="no-manifest"), "failed"),
        (Broken("The AIP bucket does not exist.", code="no-bucket"), "blocked"),
    ],
)
def test_a_final_failure_is_recorded_told_and_acknowledged(harness: Harness, error: Exception, state: str) -> None:
    _, asked = harness.begin()

    def failing(archive: ArchiveView, ports: Ports) -> Outcome:
        raise error

    harness.run = failing
    assert post(harness.function(), asked).status_code == 204
    assert harness.scalar("SELECT state FROM step") == state
    assert [sent.type for sent in harness.emitter.sent] == [
        "org.perdura.step.failed.v1",
        "org.perdura.premis.recorded.v1",
    ]
    assert harness.scalar("SELECT count(*) FROM premis_log") == 1


def test_an_unforeseen_error_is_tried_again_then_left_to_a_person(harness: Harness) -> None:
    _, asked = harness.begin()
    client = harness.function()

    def failing(archive: ArchiveView, ports: Ports) -> Outcome:
        raise ZeroDivisionError("secret detail")

    harness.run = failing
    responses = [post(client, asked) for _ in range(3)]
    assert [response.status_code for response in responses] == [503, 503, 204]
    assert harness.scalar("SELECT state FROM archive") == "blocked"
    assert "secret" not in json.dumps(harness.scalar("SELECT error_message FROM step"))


def test_an_outcome_that_cannot_be_recorded_is_left_to_a_person(harness: Harness) -> None:
    _, asked = harness.begin()
    client = harness.function()
    harness.run = lambda archive, ports: Outcome(output={"not json": object()})
    assert [post(client, asked).status_code for _ in range(3)] == [503, 503, 204]
    assert harness.scalar("SELECT state || ' ' || error_code FROM step") == "blocked internal-error"


def test_text_that_no_database_holds_is_recorded_without_it(harness: Harness) -> None:
    archive, asked = harness.begin()
    title = "a\x00b \ud800 ü"

    def told(archive: ArchiveView, ports: Ports) -> Outcome:
        event = model.Event(ports.derived("e"), "capture", datetime.now(UTC), details=(title,))
        change = ArchiveChange(title=title, metadata={title: [title]})
        return Outcome(
            StepState.FAILED, {"said": title}, events=(event,), archive=change, error_code="x", message=title
        )

    harness.run = told
    assert post(harness.function(), asked).status_code == 204
    assert harness.scalar(f"SELECT title FROM archive WHERE id = '{archive}'") == "a\ufffdb \ufffd ü"
    assert harness.scalar("SELECT error_message FROM step") == "a\ufffdb \ufffd ü"


def test_a_continuation_that_gets_no_further_is_left_to_a_person(harness: Harness) -> None:
    _, asked = harness.begin()
    client = harness.function()
    harness.run = lambda archive, ports: Outcome(state=StepState.QUEUED, checkpoint={"done": 0})
    post(client, asked)
    for _ in range(3):
        again = [sent for sent in harness.emitter.sent if sent.type == asked.type]
        post(client, again[-1])
    assert harness.scalar("SELECT state || ' ' || error_code FROM step") == "blocked no-progress"


@pytest.mark.parametrize("point", ["before-effect", "after-effect", "after-commit"])
def test_a_step_that_dies_anywhere_is_done_once_in_the_end(
    harness: Harness, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = harness.begin()
    client = harness.function()

    class Death(BaseException):
        """Stands for SIGKILL: nothing may catch it."""

    def reach(here: str) -> None:
        if here == point:
            raise Death

    with monkeypatch.context() as patch:
        patch.setattr(delivery.faults, "reach", reach)
        with pytest.raises(Death):
            post(client, asked)
    assert post(client, asked).status_code == 204
    assert harness.scalar("SELECT count(*) FROM premis_log") == 1
    assert harness.scalar("SELECT count(*) FROM package") == 1
    assert harness.scalar("SELECT state FROM step WHERE position = 0") == "completed"
    assert harness.scalar("SELECT count(*) FROM step WHERE position = 1") == 1
    requests = "SELECT count(*) FROM outbox WHERE event ->> 'type' = 'org.perdura.preserve.requested.v1'"
    assert harness.scalar(requests) == 1


def test_a_transition_takes_at_most_twelve_statements(harness: Harness) -> None:
    _, asked = harness.begin()
    statements: list[str] = []
    event.listen(
        harness.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2].strip()[:60])
    )
    assert post(harness.function(), asked).status_code == 204
    assert len(statements) <= 12, statements


def test_a_dead_database_asks_for_another_try(harness: Harness) -> None:
    _, asked = harness.begin()
    from sqlalchemy import create_engine

    vars(harness.environment)["engine"] = create_engine("postgresql+pg8000://nobody@127.0.0.1:1/none")
    response = post(harness.function(), asked)
    assert (response.status_code, response.get_data()) == (503, b"")


def test_a_statement_that_is_wrong_is_no_dead_database(harness: Harness) -> None:
    """A mistake in a step's statement is tried as often as any other, then left to a person."""
    _, asked = harness.begin()
    client = harness.function()

    def mistaken(archive: ArchiveView, ports: Ports) -> Outcome:
        with harness.environment.engine.connect() as connection:
            connection.exec_driver_sql("SELECT nothing FROM nowhere")
        return Outcome()

    harness.run = mistaken
    assert [post(client, asked).status_code for _ in range(3)] == [503, 503, 204]
    assert harness.scalar("SELECT state || ' ' || error_code FROM step") == "blocked internal-error"


def test_a_request_that_ends_in_a_wrong_statement_is_answered_as_our_mistake(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, asked = harness.begin()
    client = harness.function()

    def mistaken(*_: object) -> None:
        with harness.environment.engine.connect() as connection:
            connection.exec_driver_sql("SELECT nothing FROM nowhere")

    monkeypatch.setattr("perdura.runtime.delivery.work.start", mistaken)
    response = post(client, asked)
    assert (response.status_code, response.get_data()) == (500, b"")


def test_a_batch_is_answered_by_its_worst(harness: Harness) -> None:
    _, first = harness.begin()
    _, second = harness.begin()

    def sometimes(archive: ArchiveView, ports: Ports) -> Outcome:
        if str(archive.step.id) == second.data["step"]:
            raise StoreUnavailable("no")
        return success(archive, ports)

    harness.run = sometimes
    headers, body = encode_batch([first, second])
    assert harness.function().post("/", headers=headers, data=body).status_code == 503
    assert harness.effects["run"] == 2


def test_what_is_no_cloudevent_gets_400_without_an_echo(harness: Harness) -> None:
    response = harness.function().post("/", data=b"my secret", headers={"Authorization": "Bearer x"})
    assert response.status_code == 400
    assert len(response.get_data()) <= 512
    assert b"secret" not in response.get_data()


def test_unknown_types_and_unreadable_requests_are_acknowledged(harness: Harness) -> None:
    client = harness.function()
    assert post(client, CloudEvent("1", "/x", "org.example.unknown", data={})).status_code == 204
    assert post(client, CloudEvent("2", "/x", "org.perdura.ingest.requested.v1", data={"step": 5})).status_code == 204
    assert harness.effects["run"] == 0


def test_a_type_of_ours_that_another_version_knows_is_left_to_it(harness: Harness) -> None:
    assert post(harness.function(), CloudEvent("1", "/x", "org.perdura.later.requested.v1", data={})).status_code == 503


def test_a_body_over_the_limit_is_refused(harness: Harness) -> None:
    limited = harness.environment.settings.model_copy(update={"body_limit": 65536})
    harness.environment.__dict__["settings"] = limited
    assert harness.function().post("/", data=b"x" * 70000).status_code == 413


@pytest.mark.parametrize("path", ["/healthz", "/_/health"])
def test_a_function_is_alive_whatever_the_database_does(harness: Harness, path: str) -> None:
    assert harness.function().get(path).status_code == 200


def test_webhook_consent_and_head(harness: Harness) -> None:
    client = harness.function()
    consent = client.options("/", headers={"WebHook-Request-Origin": "broker.example"})
    assert consent.headers["WebHook-Allowed-Origin"] == "*"
    assert consent.headers["WebHook-Allowed-Rate"] == "*"
    assert client.head("/anything").status_code == 200
    assert client.get("/anything").status_code == 404
    assert client.put("/").status_code == 405


def notification(key: str, bucket: str = "perdura-incoming") -> dict[str, Any]:
    record = {"eventSource": "minio:s3", "eventName": "s3:ObjectCreated:Put", "eventVersion": "2.0",
              "s3": {"bucket": {"name": bucket}, "object": {"key": key, "size": 3, "eTag": "x"}}}  # fmt: skip
    return {"EventName": "s3:ObjectCreated:Put", "Key": f"{bucket}/{key}", "Records": [record]}


def test_a_storage_notification_begins_an_ingest_once(harness: Harness) -> None:
    client, token = harness.function(), {"Authorization": "Bearer secret"}
    harness.environment.store.put("perdura-incoming", "a.zip", b"abc")
    for _ in range(2):
        with client.post("/s3", json=notification("a.zip"), headers=token) as response:
            response.get_data()
        assert response.status_code == 204
    assert [sent.type for sent in harness.emitter.sent] == ["org.perdura.ingest.requested.v1"]


@pytest.mark.parametrize("key", ["absent.zip", "folder/"])
def test_a_notification_is_not_believed(harness: Harness, key: str) -> None:
    token = {"Authorization": "Bearer secret"}
    assert harness.function().post("/s3", json=notification(key), headers=token).status_code == 204
    harness.environment.store.put("perdura-aips", "a.tar", b"abc")
    harness.function().post("/s3", json=notification("a.tar", "perdura-aips"), headers=token)
    assert harness.scalar("SELECT count(*) FROM archive") == 0


def test_notifications_need_the_token(harness: Harness) -> None:
    assert harness.function().post("/s3", json=notification("a.zip")).status_code == 401


def test_an_object_reported_by_cloudevent_is_admitted(harness: Harness) -> None:
    harness.environment.store.put("perdura-incoming", "b.zip", b"abc")
    told = CloudEvent("1", "/lab", "org.perdura.ingest.requested.v1", data={
        "bucket": "perdura-incoming", "key": "b.zip"})  # fmt: skip
    assert post(harness.function(), told).status_code == 204
    assert harness.emitter.sent[0].data["archive"]
    assert harness.effects["run"] == 0


def test_ticks_are_never_deduplicated(harness: Harness) -> None:
    ticks: list[int] = []

    def tick(_: Environment) -> list[CloudEvent]:
        ticks.append(1)
        return []

    unit = function.Function("relay", tick=tick)
    client = Client(Request.application(unit.respond))
    for _ in range(2):
        post(client, CloudEvent("same", "/ping", TICK, data={}))
    assert len(ticks) == 2


def test_functions_only_take_types_of_the_catalogue() -> None:
    with pytest.raises(ValueError, match="not in the catalogue"):
        function.Function("x", steps={"org.perdura.bake.requested.v1": delivery.StepRunner("x", success)})


def test_the_first_steps_id_is_derived() -> None:
    archive = new_id()
    assert archives.first_step_id(archive) == archives.first_step_id(archive)


def test_what_a_package_tells_is_recorded_with_the_outcome_and_what_the_log_has_stays(harness: Harness) -> None:
    told = [model.Event(new_id(), "ingestion", datetime.now(UTC)) for _ in range(3)]
    agent = model.Agent(model.Identifier("preservation system", "Archivematica-1.17"), "Archivematica", "software")

    def tells(archive: ArchiveView, ports: Ports) -> Outcome:
        outcome = success(archive, ports)
        return replace(outcome, told_events=(*told, told[0]) if len(seen) else tuple(told), told_agents=(agent,))

    seen: list[UUID] = []
    harness.run = tells
    for _ in range(2):
        archive, asked = harness.begin()
        assert post(harness.function(), asked).status_code == 204
        seen.append(archive)
    assert harness.scalar("SELECT count(*) FROM premis_log") == 5
    assert harness.scalar("SELECT count(*) FROM premis_agent WHERE identifier = 'Archivematica-1.17'") == 1
    assert harness.scalar("SELECT count(*) FROM step WHERE name = 'ingest' AND state = 'completed'") == 2


def test_a_full_queue_makes_new_archives_wait_and_answers_as_if_all_were_well(harness: Harness) -> None:
    from perdura.registry import turns

    vars(harness.environment)["settings"] = Settings(
        database_url=harness.environment.settings.database_url, archives_in_work=1
    )
    first, second = harness.begin(), harness.begin()
    client = harness.function()
    assert post(client, second[1]).status_code == 204
    assert post(client, second[1]).status_code == 204
    assert harness.effects["run"] == 0
    assert harness.scalar("SELECT count(*) FROM step WHERE error_code = 'waits-its-turn'") == 1
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'completed' WHERE archive_id = :a"), {"a": first[0]})
        (turn,) = turns.give(connection, 1, "/relay")
    assert post(client, turn).status_code == 204
    assert harness.effects["run"] == 1
    assert harness.scalar("SELECT count(*) FROM step WHERE state = 'completed' AND name = 'ingest'") == 2


def test_steps_leave_connections_for_all_else_and_those_without_room_are_asked_for_again(
    harness: Harness, database_url: str
) -> None:
    """Uploads of minutes: two run, two wait for a place, the others are left to the watchdog; readers are served."""
    pool = create_engine(database_url, pool_size=4, max_overflow=0, pool_timeout=2)
    vars(harness.environment).update(engine=pool, room=Room(2, wait=20))
    asked = [harness.begin()[1] for _ in range(6)]
    begun, go_on, answers = threading.Semaphore(0), threading.Event(), []

    def upload(archive: ArchiveView, ports: Ports) -> Outcome:
        begun.release()
        assert go_on.wait(20)
        ports.intents.declare("sent", {})
        return success(archive, ports)

    harness.run, client = upload, harness.function()
    workers = [threading.Thread(target=lambda event=event: answers.append(post(client, event))) for event in asked]
    for worker in workers:
        worker.start()
    assert begun.acquire(timeout=10)
    assert begun.acquire(timeout=10)
    while len(answers) < 2:
        threading.Event().wait(0.01)
    assert [answer.status_code for answer in answers] == [204] * 2
    assert harness.effects["run"] == 2
    readers = [threading.Thread(target=lambda: answers.append(pool.connect().close())) for _ in range(20)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert answers.count(None) == 20, "every reader had a connection"
    go_on.set()
    for worker in workers:
        worker.join()
    assert harness.effects["run"] == 4
    states = "SELECT count(*) FROM step WHERE name = 'ingest' AND state = "
    assert harness.scalar(f"{states}'completed'") == 4
    left = f"{states}'queued' AND deliveries = 0 AND poll_at < clock_timestamp() + interval '11 seconds'"
    assert harness.scalar(left) == 2
    with harness.engine.begin() as connection:
        connection.execute(text("UPDATE step SET poll_at = clock_timestamp() WHERE state = 'queued'"))
        again = [event for event in duties.ask_again(connection, "/test") if event.type.endswith("ingest.requested.v1")]
    assert [post(client, event).status_code for event in again] == [204] * 2
    assert harness.scalar(f"{states}'completed'") == 6
    pool.dispose()


def test_a_step_that_finds_no_room_keeps_its_turn_and_its_time(harness: Harness) -> None:
    """One that waits for its turn is not asked for by that, and one that is due is not put off."""
    vars(harness.environment).update(room=Room(1, wait=0))
    (_, held), (_, due) = harness.begin(), harness.begin()
    with harness.engine.begin() as connection:
        for event, time in ((held, None), (due, datetime(2026, 1, 1, tzinfo=UTC))):
            step = event.data["step"]
            connection.execute(text("UPDATE step SET poll_at = :t WHERE id = :s"), {"t": time, "s": step})
    with harness.environment.room.entered() as inside:
        assert inside
        assert [post(harness.function(), event).status_code for event in (held, due)] == [204, 204]
    assert harness.effects["run"] == 0
    with harness.engine.connect() as connection:
        times = dict(connection.execute(text("SELECT id, poll_at FROM step")).all())
    assert [times[UUID(str(event.data["step"]))] for event in (held, due)] == [None, datetime(2026, 1, 1, tzinfo=UTC)]
