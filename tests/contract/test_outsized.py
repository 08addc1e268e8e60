"""A package too large for an invocation: handed to a Job, which runs the same function with more time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.message import CloudEvent
from perdura.outcome import ArchiveView, Outcome, Package, PackageKind
from perdura.ports import Ports
from perdura.runtime import function
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.steps.preserve_outsized import REQUESTED
from perdura.storage.memory import MemoryStore
from tests.contract.delivering import Harness, RecordingEmitter, post
from tests.contract.test_archivematica_callback import loaded
from tests.unit.preserve.fakes import FakeIdentifier
from tests.unit.preserve.submissions import FILES, bag, zipped

pytestmark = pytest.mark.stack
SIP = zipped(bag(dict(FILES)))


@dataclass
class Preserve:
    """The function preserve in a process with settings of its own."""

    client: Client
    emitter: RecordingEmitter


@pytest.fixture
def process(database: Engine, database_url: str, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> object:
    @contextmanager
    def settings(**changes: object) -> Iterator[Preserve]:
        emitter = RecordingEmitter()
        chosen = Settings.model_validate({"database_url": database_url, "virus_scan": "off", **changes})
        environment = Environment(chosen)
        vars(environment).update(
            engine=database, store=harness.environment.store, emitter=emitter, identifier=FakeIdentifier()
        )
        monkeypatch.setattr(function, "environment", lambda: environment)
        handle = loaded().handle

        @Request.application
        def application(request: Request) -> Response:
            response: Response = handle(request)
            return response

        yield Preserve(Client(application), emitter)

    return settings


def asked(harness: Harness) -> CloudEvent:
    """A SIP was accepted: the CloudEvent that asks for its AIP."""
    store = harness.environment.store
    assert isinstance(store, MemoryStore)

    def accept(archive: ArchiveView, ports: Ports) -> Outcome:
        info = store.put("perdura-sips", f"{archive.id}/sip.zip", SIP).info
        ref = info.ref
        sip = Package(ports.derived("sip"), PackageKind.SIP, ref.bucket, ref.key, "zip", len(SIP))
        return Outcome(packages=(sip,))

    harness.run = accept
    _, event = harness.begin()
    assert post(harness.function(), event).status_code == 204
    return next(sent for sent in harness.emitter.sent if sent.type == "org.perdura.preserve.requested.v1")


def state(database: Engine, event: CloudEvent) -> tuple[str, str | None]:
    with database.connect() as connection:
        found = connection.execute(
            text("SELECT state, error_code FROM step WHERE id = :step"), {"step": event.data["step"]}
        ).one()
    return found.state, found.error_code


def test_a_job_makes_the_aip_that_an_invocation_need_not_try(
    database: Engine, harness: Harness, process: object
) -> None:
    event = asked(harness)
    with process(outsized_bytes=len(SIP) - 1) as service:  # type: ignore[operator]
        assert post(service.client, event).status_code == 204
        (handed,) = [sent for sent in service.emitter.sent if sent.type == REQUESTED]
    assert state(database, event) == ("waiting", None)
    with process() as job:  # type: ignore[operator]
        assert post(job.client, handed).status_code == 204
        assert "org.perdura.aip.created.v1" in {sent.type for sent in job.emitter.sent}
        assert post(job.client, handed).status_code == 204
    assert state(database, event)[0].startswith("completed")
    with database.connect() as connection:
        statement = text("SELECT count(*) FROM package WHERE kind = 'AIP' AND archive_id = :archive")
        assert connection.execute(statement, {"archive": event.data["archive"]}).scalar() == 1


def test_a_job_makes_the_aip_for_which_an_invocation_was_too_short(
    database: Engine, harness: Harness, process: object
) -> None:
    event = asked(harness)
    with process(outsized_bytes=10**12, invocation_seconds=0.0001) as service:  # type: ignore[operator]
        assert post(service.client, event).status_code == 204
        (handed,) = [sent for sent in service.emitter.sent if sent.type == REQUESTED]
    with process() as job:  # type: ignore[operator]
        assert post(job.client, handed).status_code == 204
    assert state(database, event)[0].startswith("completed")


def test_without_a_job_the_step_blocks_by_name_and_nothing_is_made(
    database: Engine, harness: Harness, process: object
) -> None:
    event = asked(harness)
    with process(invocation_seconds=0.0001) as service:  # type: ignore[operator]
        assert post(service.client, event).status_code == 204
    assert state(database, event) == ("blocked", "invocation-too-short")
    assert list(harness.environment.store.list("perdura-aips", f"{event.data['archive']}/")) == []


def test_jobs_that_die_are_asked_for_again_but_not_for_ever(
    database: Engine, harness: Harness, process: object
) -> None:
    event = asked(harness)
    with process(outsized_bytes=1) as service:  # type: ignore[operator]
        assert post(service.client, event).status_code == 204
        for _ in range(5):
            with database.begin() as connection:
                past = text(
                    "UPDATE step SET poll_at = now() - interval '1 hour' WHERE id = :step AND state = 'waiting'"
                )
                connection.execute(past, {"step": event.data["step"]})
            asked_again = [
                sent for sent in loaded().look_again(function.environment()) if sent.subject == event.subject
            ]
            for again in asked_again:
                post(service.client, again)
        jobs = [sent for sent in service.emitter.sent if sent.type == REQUESTED]
    assert len({sent.id for sent in jobs}) == 3
    assert state(database, event) == ("blocked", "outsized-not-done")
