"""An Archive that the registry knows too, and what happens while it is published."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text

from perdura.clients.inveniordm.wire import Wire
from perdura.ids import new_id
from perdura.outcome import ArchiveView
from perdura.registry import withdrawals, work
from perdura.registry.placements import RegistryPlacements
from perdura.steps import publish, withdraw
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.ports import ports_for, preserved
from tests.contract.test_inveniordm.test_step import FILES
from tests.contract.test_inveniordm.world import Target


@dataclass
class Meanwhile(httpx.BaseTransport):
    """Passes requests on; right before the first of a method whose path ends so, something happens."""

    inner: httpx.BaseTransport
    method: str
    end: str
    act: Callable[[], None] | None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.act is not None and request.method == self.method and request.url.path.endswith(self.end):
            act, self.act = self.act, None
            act()
        return self.inner.handle_request(request)


@dataclass
class World:
    """An Archive that the registry knows, and what is done with it."""

    database: Engine
    target: Target
    archive: ArchiveView
    store: MemoryStore
    path: Path

    @property
    def placements(self) -> RegistryPlacements:
        return RegistryPlacements(self.database)

    @property
    def resource(self) -> str:
        return f"oais:cds:{self.archive.recid}"

    def decide(self, destination: str | None = None) -> None:
        """What the request of a person stores, before any step carries it out."""
        with self.database.begin() as connection:
            withdrawals.decide(connection, self.archive.id, destination)

    def put_under_embargo(self, until: str | None) -> None:
        """What a person decides of the Archive, whose next step knows it."""
        with self.database.begin() as connection:
            connection.execute(
                text("UPDATE archive SET metadata = metadata || CAST(:told AS jsonb) WHERE id = :id"),
                {"id": self.archive.id, "told": json.dumps({"embargo_until": until})},
            )
        step = replace(self.archive.step, id=new_id(), checkpoint={})
        self.archive = replace(self.archive, metadata={**self.archive.metadata, "embargo_until": until}, step=step)

    def publish(self, method: str = "", end: str = "", act: Callable[[], None] | None = None) -> Any:
        """One invocation of the step `publish`; right before that request something happens."""
        transport = Meanwhile(self.target.transport(), method, end, act)
        token = self.target.tokens["publisher"]
        ports = ports_for(self.store, self.path, self.placements, self.archive.step.id)
        return publish.run(
            self.archive,
            ports,
            lambda _: Wire(self.target.url, token, transport=transport, sleep=lambda seconds: None),
        )

    def withdraw(self, user: str = "publisher", **told: Any) -> Any:
        """One invocation of the step `withdraw`, after the decision."""
        asked = replace(self.archive, step=replace(self.archive.step, id=new_id(), input={"reason": "spam", **told}))
        ports = ports_for(self.store, self.path, self.placements, asked.step.id)
        return withdraw.run(asked, ports, lambda _: self.target.wire(user))


def known_world(database: Engine, target: Target, path: Path) -> World:
    """A new Archive with an AIP of two files, in the registry and in a store."""
    store = MemoryStore()
    archive = preserved(store, FILES)
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO archive (id, pipeline, origin, metadata) "
                "VALUES (:id, '[]', 'test', '{\"url\": \"https://repository.example.org/records/1\"}')"
            ),
            {"id": archive.id},
        )
        work.keep(connection, archive.id, archive.packages, [])
    return World(database, target, archive, store, path)
