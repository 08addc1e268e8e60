"""A withdrawal that people decide while an Archive is published, or waits to be: nothing goes on to publish it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, Wire
from perdura.errors import Rejected, Retryable
from perdura.ids import new_id
from perdura.outcome import ArchiveView, StepState
from perdura.registry import withdrawals, work
from perdura.registry.placements import RegistryPlacements
from perdura.steps import publish, withdraw
from perdura.storage.memory import MemoryStore
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.ports import ports_for, preserved
from tests.contract.test_inveniordm.test_protection import access_of
from tests.contract.test_inveniordm.test_step import FILES, PAGES
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


@pytest.fixture
def made(target: Target, access: Callable[..., Path], database: Engine) -> Callable[..., World]:
    def make(pages: str = "", **policy: Any) -> World:
        store = MemoryStore()
        archive, path = preserved(store, FILES), access(**policy)
        path.write_text(path.read_text() + pages)
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

    return make


def stopped(world: World, method: str, end: str) -> str | None:
    """Why a publication that is withdrawn right before a request came to no end; what was sent may be kept or not."""
    try:
        outcome = world.publish(method, end, world.decide)
    except Retryable as error:
        return error.code
    assert outcome.state is StepState.WAITING
    return str(outcome.error_code)


def test_what_is_withdrawn_while_the_library_is_away_is_not_published_when_it_is_back(
    fake: Fake, made: Callable[..., World]
) -> None:
    """Nothing was noted of the library when the withdrawal was carried out."""
    world = made(PAGES)
    world.target = Target(fake.url, TOKENS, fake.transport, fake)
    fake.storm = 10**6
    outcome = world.publish()
    assert outcome.state is StepState.WAITING
    assert set(world.placements.everywhere(world.archive.id)) == {"access-pages"}
    world.decide()
    assert world.withdraw().output["withdrawn"] == ["access-pages"]
    fake.storm = 0
    world.archive = replace(world.archive, step=replace(world.archive.step, checkpoint=outcome.checkpoint))
    outcome = world.publish()
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert outcome.output["destinations"]["library"] == {"withheld": "The Archive was withdrawn."}
    assert (world.target.published(world.resource), world.target.drafts(world.resource)) == ([], [])


@pytest.mark.parametrize(
    ("method", "end", "drafts"),
    [("GET", "/api/user/records", 0), ("POST", "/draft/files", 1), ("PUT", "/content", 1), ("PUT", "/draft", 1)],
)
def test_a_publication_that_is_under_way_stops_and_leaves_nothing(
    made: Callable[..., World], method: str, end: str, drafts: int
) -> None:
    world = made()
    assert stopped(world, method, end) == "decided-anew"
    assert world.target.published(world.resource) == []
    assert len(world.target.drafts(world.resource)) == drafts
    outcome = world.withdraw()
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert world.target.drafts(world.resource) == []
    assert world.publish().output["destinations"]["library"] == {"withheld": "The Archive was withdrawn."}
    assert (world.target.published(world.resource), world.target.drafts(world.resource)) == ([], [])


def test_nothing_is_handed_in_for_review_that_was_withdrawn_meanwhile(made: Callable[..., World]) -> None:
    world = made()
    world = made(community=world.target.community(), review=True)
    outcome = world.publish("PUT", "/draft/review", world.decide)
    assert (outcome.state, outcome.error_code) == (StepState.WAITING, "decided-anew")
    (draft,) = world.target.drafts(world.resource)
    with world.target.wire() as wire:
        assert Records(wire).request_status(draft.review or "") == "created"
    assert world.withdraw().state is StepState.COMPLETED
    assert world.target.drafts(world.resource) == []


def test_what_is_withdrawn_while_the_server_publishes_it_is_deleted_by_the_withdrawal(
    made: Callable[..., World],
) -> None:
    world = made()
    assert stopped(world, "POST", "/actions/publish") == "decided-anew"
    (record,) = world.target.published(world.resource)
    assert world.withdraw("publisher").state is StepState.BLOCKED
    outcome = world.withdraw("admin")
    assert outcome.state is StepState.COMPLETED, outcome.message
    with world.target.wire() as wire, pytest.raises(RdmGone):
        Records(wire).record(record.id)


def test_a_record_that_may_not_be_deleted_is_shut_by_the_next_publication(made: Callable[..., World]) -> None:
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    world.decide()
    assert world.withdraw("publisher").state is StepState.BLOCKED
    outcome = world.publish()
    assert outcome.output["destinations"]["library"]["restricted"] == [record]
    assert access_of(world.target, record)["record"] == "restricted"


def test_what_was_published_nowhere_can_be_withdrawn_and_wanted_after_all(made: Callable[..., World]) -> None:
    world = made(PAGES)
    with pytest.raises(Rejected, match="not published there"):
        world.withdraw(destination="nowhere")
    world.decide("library")
    outcome = world.withdraw(destination="library")
    assert (outcome.state, outcome.output["withdrawn"]) == (StepState.COMPLETED, [])
    outcome = world.publish()
    assert [each["destination"] for each in outcome.output["publications"]] == ["access-pages"]
    with world.database.begin() as connection:
        withdrawals.lift(connection, world.archive.id)
    outcome = world.publish()
    assert [each["destination"] for each in outcome.output["publications"]] == ["library", "access-pages"]


def test_the_access_pages_are_kept_from_what_was_withdrawn_before_they_had_it(made: Callable[..., World]) -> None:
    world = made(PAGES)
    world.decide("access-pages")
    outcome = world.publish()
    assert [each["destination"] for each in outcome.output["publications"]] == ["library"]
    assert outcome.output["destinations"]["access-pages"] == {"withheld": "The Archive was withdrawn."}


@pytest.mark.parametrize("decided", ["restricted", "withdrawn"])
def test_a_record_that_curators_accept_while_its_review_is_cancelled_is_shut(
    made: Callable[..., World], decided: str
) -> None:
    first = made()
    world = made(community=first.target.community(), review=True)
    told = world.publish().output["destinations"]["library"]
    if decided == "restricted":
        world.archive = replace(world.archive, restricted=True)
    else:
        world.decide()
    outcome = world.publish(
        "POST", f"{told['request']}/actions/cancel", lambda: world.target.decide(told["request"], "accept")
    )
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert outcome.output["destinations"]["library"]["restricted"] == [told["record"]]
    assert access_of(world.target, told["record"])["record"] == "restricted"
    assert access_of(world.target, told["record"])["files"] == "restricted"
