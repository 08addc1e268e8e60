"""A withdrawal that people decide while an Archive is published, or waits to be: nothing goes on to publish it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import Engine, text

from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone
from perdura.errors import Rejected, Retryable
from perdura.outcome import StepState
from perdura.registry import placements, withdrawals
from perdura.runtime.rebuild_history import history
from tests.contract.test_inveniordm import communities
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.meanwhile import World
from tests.contract.test_inveniordm.ports import preserved
from tests.contract.test_inveniordm.test_protection import access_of
from tests.contract.test_inveniordm.test_step import FILES, PAGES
from tests.contract.test_inveniordm.world import Target


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
    with pytest.raises(Retryable):
        world.withdraw()
    noted = world.placements.known("access-pages", world.archive.id)
    assert noted is not None
    assert noted.state == "withdrawn"
    fake.storm = 0
    assert world.withdraw().output["withdrawn"] == ["access-pages"]
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


def test_a_record_that_may_not_be_deleted_is_shut_at_once_and_can_be_opened_again(made: Callable[..., World]) -> None:
    """The usual token is no administrator's: what is left for one is the tombstone, and the step waits for it."""
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    world.decide()
    outcome = world.withdraw("publisher")
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "shut-not-deleted")
    assert (outcome.output["shut"], outcome.output["still_public"]) == (["library"], [])
    assert "is shut, not deleted" in outcome.message
    assert "still public" not in outcome.message
    assert (access_of(world.target, record)["record"], access_of(world.target, record)["files"]) == (
        "restricted",
        "restricted",
    )
    noted = world.placements.known("library", world.archive.id)
    assert noted is not None
    assert noted.state == "published"
    with world.database.begin() as connection:
        withdrawals.lift(connection, world.archive.id)
    assert world.publish().state is StepState.COMPLETED
    assert access_of(world.target, record)["record"] == "public"


def test_a_record_that_may_be_neither_deleted_nor_shut_is_still_public(made: Callable[..., World]) -> None:
    world = made()
    world.publish()
    world.decide()
    outcome = world.withdraw("other")
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "access-system-forbids")
    assert (outcome.output["shut"], outcome.output["still_public"]) == ([], ["library"])


def test_a_record_that_was_not_deleted_yet_is_shut_by_the_next_publication(
    made: Callable[..., World],
) -> None:
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    world.decide()
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
    noted = world.placements.known("library", world.archive.id)
    assert noted is not None
    assert noted.state == "published"


@pytest.mark.parametrize("step", ["publish", "withdraw"])
def test_what_curators_accept_at_that_moment_is_looked_at_again_until_it_is_there(
    fake: Fake, made: Callable[..., World], step: str
) -> None:
    """The request is accepted while it is cancelled, and the record comes a moment later."""
    world = made(community=Target(fake.url, TOKENS, fake.transport, fake).community(), review=True)
    world.target = Target(fake.url, TOKENS, fake.transport, fake)
    told = world.publish().output["destinations"]["library"]
    world.decide()
    fake.requests[told["request"]]["status"] = "accepted"
    with pytest.raises(Retryable, match="accepted and is not published yet"):
        world.publish() if step == "publish" else world.withdraw("admin")
    assert len(world.target.drafts(world.resource)) == 1
    communities.decide(fake, told["request"], "accept")
    if step == "publish":
        assert world.publish().output["destinations"]["library"]["restricted"] == [told["record"]]
        assert access_of(world.target, told["record"])["record"] == "restricted"
    else:
        assert world.withdraw("admin").state is StepState.COMPLETED
        assert world.target.published(world.resource) == []


def forgotten(owner: Engine) -> None:
    """The registry knows no record of the Archive, as after it was restored from an older state."""
    with owner.begin() as connection:
        connection.execute(text("DELETE FROM placed_record"))
        connection.execute(text("DELETE FROM placement"))


def test_a_registry_that_is_rebuilt_withdraws_what_the_log_tells_of(made: Callable[..., World], owner: Engine) -> None:
    world = made()
    outcome = world.publish()
    forgotten(owner)
    told = history(("publish", event) for event in outcome.events).placed
    with world.database.begin() as connection:
        for placed in told["library"]:
            placements.remember(connection, "library", world.archive.id, placed)
    world.decide()
    assert world.withdraw("admin").output["withdrawn"] == ["library"]
    with world.target.wire() as wire, pytest.raises(RdmGone):
        Records(wire).record(outcome.output["destinations"]["library"]["record"])


def test_what_the_registry_does_not_know_is_looked_up_and_withdrawn(made: Callable[..., World], owner: Engine) -> None:
    """Records of every AIP, though the token is that of an administrator, whose own they are not."""
    world = made()
    first = world.publish().output["destinations"]["library"]["record"]
    newer = preserved(world.store, {**FILES, "content/new.txt": b"new"}).packages
    world.archive = replace(world.archive, packages=(*world.archive.packages, *newer))
    second = world.publish().output["destinations"]["library"]["record"]
    assert first != second
    forgotten(owner)
    world.decide()
    outcome = world.withdraw("admin")
    assert (outcome.state, outcome.output["withdrawn"]) == (StepState.COMPLETED, ["library"]), outcome.message
    for record in (first, second):
        with world.target.wire() as wire, pytest.raises(RdmGone):
            Records(wire).record(record)
    assert world.placements.records("library", world.archive.id) == [first, second]


@pytest.mark.parametrize("decided", ["restricted", "withdrawn"])
def test_what_the_registry_does_not_know_is_shut_by_the_next_publication(
    made: Callable[..., World], owner: Engine, decided: str
) -> None:
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    forgotten(owner)
    if decided == "restricted":
        world.archive = replace(world.archive, restricted=True)
    else:
        world.decide()
    assert world.publish().output["destinations"]["library"]["restricted"] == [record]
    assert access_of(world.target, record)["record"] == "restricted"


def test_a_draft_whose_creation_nobody_was_told_of_is_thrown_away(made: Callable[..., World], owner: Engine) -> None:
    world = made()

    def die() -> None:
        raise httpx.ReadTimeout("the connection is gone")

    with pytest.raises(Retryable):
        world.publish("POST", "/draft/files", die)
    forgotten(owner)
    world.decide()
    assert world.withdraw().output["withdrawn"] == ["library"]
    assert world.target.drafts(world.resource) == []


def test_what_was_thrown_away_before_it_was_published_can_be_published_after_all(made: Callable[..., World]) -> None:
    world = made()
    assert stopped(world, "POST", "/draft/files") == "decided-anew"
    for _ in range(2):
        outcome = world.withdraw()
        assert (outcome.state, outcome.output["withdrawn"]) == (StepState.COMPLETED, ["library"])
    with world.database.begin() as connection:
        withdrawals.lift(connection, world.archive.id)
    outcome = world.publish()
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert len(world.target.published(world.resource)) == 1


def test_the_end_of_a_record_is_noted_though_the_registry_did_not_know_the_record(
    made: Callable[..., World], owner: Engine
) -> None:
    """It was found at the server, and deleted there before it was read."""
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    forgotten(owner)

    def delete() -> None:
        with world.target.wire("admin") as wire:
            Records(wire).delete(record, "spam", "not ours")

    outcome = world.publish("GET", f"/api/records/{record}", delete)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "access-system-record-withdrawn")
    noted = world.placements.known("library", world.archive.id)
    assert noted is not None
    assert (noted.record, noted.state) == (record, "withdrawn")
    assert noted.details["tombstone"]["note"] == "not ours"
    assert "not ours" in world.publish().message
    assert world.target.published(world.resource) == []


def test_a_record_whose_bytes_are_others_can_be_withdrawn_though_the_registry_did_not_know_it(
    made: Callable[..., World], owner: Engine
) -> None:
    world = made()
    record = world.publish().output["destinations"]["library"]["record"]
    forgotten(owner)
    other = world.path.with_name("other.toml")
    other.write_text(world.path.read_text() + '\ncontainer = "zip"\n')
    world.path = other
    assert world.publish().error_code == "wrong-bytes"
    assert world.withdraw("admin").output["withdrawn"] == ["library"]
    with world.target.wire() as wire, pytest.raises(RdmGone) as gone:
        Records(wire).record(record)
    assert gone.value.record == record
