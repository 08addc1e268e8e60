"""A function around a step that the test chooses, with a real PostgreSQL and a memory of what it would send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from perdura.cloudevents.codec import encode_binary
from perdura.cloudevents.message import CloudEvent
from perdura.ids import new_id
from perdura.outcome import ArchiveView, Copy, File, Outcome, Package, PackageKind
from perdura.ports import Ports
from perdura.premis import model
from perdura.registry import deposits
from perdura.runtime import delivery, function
from perdura.runtime.environment import Environment
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore


@dataclass
class RecordingEmitter:
    """Takes note of what would be sent to the broker."""

    sent: list[CloudEvent] = field(default_factory=list)

    def after_response(self, response: Response, events: Sequence[CloudEvent]) -> Response:
        self.sent += events
        return response


@dataclass
class Harness:
    """One function around a step that the test chooses."""

    engine: Engine
    emitter: RecordingEmitter
    environment: Environment
    effects: Counter[str] = field(default_factory=Counter)
    run: Callable[[ArchiveView, Ports], Outcome] | None = None

    def function(self) -> Client:
        runner = delivery.StepRunner("ingest", self._step)
        unit = function.Function("ingest", steps={"org.perdura.ingest.requested.v1": runner}, notifications=True)

        @Request.application
        def application(request: Request) -> Response:
            return unit.respond(request)

        return Client(application)

    def _step(self, archive: ArchiveView, ports: Ports) -> Outcome:
        self.effects["run"] += 1
        if self.run is not None:
            return self.run(archive, ports)
        return success(archive, ports)

    def begin(self) -> tuple[UUID, CloudEvent]:
        with self.engine.begin() as connection:
            arrival = deposits.Arrival("perdura-incoming", str(new_id()), None, "e", 1)
            begun = deposits.receive(connection, arrival, source="/test")
        return begun.archive, begun.events[0]

    def scalar(self, statement: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(statement)).scalar()


def success(archive: ArchiveView, ports: Ports) -> Outcome:
    """What an ordinary step brings back."""
    sip = Package(ports.derived("sip"), PackageKind.SIP, "perdura-sips", "k", "zip", 1, checksums={"sha256": "ab"})
    premis = model.Event(ports.derived("e"), "validation", datetime.now(UTC), objects=(
        model.Identifier("UUID", str(archive.id)),))  # fmt: skip
    return Outcome(
        packages=(sip,),
        copies=(Copy(sip.id, "object-store", "s3://perdura-sips/k", 1, {}),),
        files=((sip.id, (File("data/a", 1, {"sha256": "ab"}),)),),
        events=(premis,),
    )


@pytest.fixture
def harness(database: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Harness:
    emitter = RecordingEmitter()
    environment = Environment(Settings(database_url=database_url, s3_notification_token="secret"))
    vars(environment).update(engine=database, store=MemoryStore(), emitter=emitter)
    monkeypatch.setattr(function, "environment", lambda: environment)
    return Harness(database, emitter, environment)


def post(client: Client, cloudevent: CloudEvent, **further: str) -> Response:
    """The answer to a CloudEvent; `further` headers go with it."""
    headers, body = encode_binary(cloudevent)
    with client.post("/", headers={**headers, **further}, data=body) as response:
        response.get_data()
        return response
