"""Two Archives of one Resource, published one right after the other: their records are versions of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from sqlalchemy import text

from perdura.clients.inveniordm.records import Records
from perdura.errors import Retryable
from perdura.ids import new_id
from perdura.outcome import Package, StepState
from perdura.registry import earlier_versions
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.meanwhile import World, known_world
from tests.contract.test_inveniordm.ports import preserved
from tests.contract.test_inveniordm.world import Target


@pytest.fixture
def two(made: Callable[..., World], target: Target) -> tuple[World, World]:
    """Two Archives of one Resource."""
    return pair(made(), target)


def pair(first: World, target: Target) -> tuple[World, World]:
    """An Archive, and another one of its Resource."""
    second = known_world(first.database, target, first.path)
    second.archive = replace(second.archive, recid=first.archive.recid)
    with first.database.begin() as connection:
        values = {"id": new_id(), "source": first.archive.source, "recid": first.archive.recid}
        connection.execute(text("INSERT INTO resource (id, source, recid) VALUES (:id, :source, :recid)"), values)
        connection.execute(
            text("UPDATE archive SET resource_id = :resource WHERE id = ANY (:archives)"),
            {"resource": values["id"], "archives": [first.archive.id, second.archive.id]},
        )
    return first, second


def told(world: World) -> tuple[str, int]:
    """The family of the record that a publication makes, and its number there."""
    outcome = world.publish()
    assert outcome.state is StepState.COMPLETED, outcome.message
    found = outcome.output["destinations"]["library"]
    return found["parent"], found["version"]


def test_a_version_is_one_though_the_search_does_not_show_the_version_before_it_yet(
    fake: Fake, two: tuple[World, World]
) -> None:
    fake.lagging = True
    first, second = two
    if first.target.server is None:
        first.target = second.target = Target(fake.url, TOKENS, fake.transport, fake)
    parent, number = told(first)
    assert number == 1
    assert told(second) == (parent, 2)


def test_a_draft_is_left_for_a_version_of_what_was_published_a_moment_ago(fake: Fake, two: tuple[World, World]) -> None:
    fake.lagging = True
    first, second = two
    if first.target.server is None:
        first.target = second.target = Target(fake.url, TOKENS, fake.transport, fake)

    def die() -> None:
        raise httpx.ReadTimeout("the connection is gone")

    with pytest.raises(Retryable):
        second.publish("POST", "/draft/files", die)
    parent, _ = told(first)
    assert told(second) == (parent, 2)
    fake.refresh()
    assert second.target.drafts(second.resource) == []


def test_what_follows_a_version_that_was_withdrawn_waits_for_a_person(two: tuple[World, World]) -> None:
    first, second = two
    first.publish()
    first.decide()
    outcome = second.publish()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "earlier-version-withdrawn")
    assert first.withdraw("admin").output["withdrawn"] == ["library"]
    outcome = second.publish()
    assert (outcome.state, outcome.error_code) == (StepState.BLOCKED, "earlier-version-withdrawn")
    assert "person" in outcome.message
    assert second.target.published(second.resource) == second.target.drafts(second.resource) == []
    with second.database.begin() as connection:
        earlier_versions.publish_all_the_same(connection, second.archive.id)
    second.archive = replace(second.archive, metadata={**second.archive.metadata, "published_by_hand": True})
    assert told(second)[1] == 1
    third = known_world(first.database, first.target, first.path)
    third.archive = replace(third.archive, recid=first.archive.recid)
    with first.database.begin() as connection:
        connection.execute(
            text("UPDATE archive SET resource_id = (SELECT resource_id FROM archive WHERE id = :first) WHERE id = :id"),
            {"first": first.archive.id, "id": third.archive.id},
        )
    assert told(third)[1] == 2


def test_a_version_that_is_there_already_is_kept_up_though_the_one_before_it_is_withdrawn_now(
    two: tuple[World, World],
) -> None:
    first, second = two
    first.publish()
    record = told(second)
    first.decide()
    first.withdraw("admin")
    second.put_under_embargo("2990-01-01")
    assert told(second) == record


def test_a_version_that_was_deleted_there_is_no_version_to_go_on_from(two: tuple[World, World]) -> None:
    first, second = two
    record = first.publish().output["destinations"]["library"]["record"]
    with first.target.wire("admin") as wire:
        Records(wire).delete(record, "spam", "not ours")
    assert told(second)[1] == 1


def test_records_of_one_system_are_found_by_whichever_of_its_entries_they_were_made(
    two: tuple[World, World],
) -> None:
    first, second = two
    record = first.publish().output["destinations"]["library"]["record"]
    placements = second.placements
    assert placements.siblings({"library", "other"}, second.archive.id) == [record]
    assert placements.siblings({"other"}, second.archive.id) == []
    assert placements.siblings({"library"}, first.archive.id) == []


def later_left_alone(first: World, second: World, record: str) -> None:
    """The record of the second Archive is the newest version, and nothing was put before or after it."""
    outcome = first.publish()
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS, outcome.message
    told = outcome.output["destinations"]["library"]
    assert told["superseded_by"] == record
    assert [finding.code for finding in outcome.findings] == ["later-version-published"]
    assert second.target.published(second.resource)[-1].id == record
    assert second.target.drafts(second.resource) == []


def test_an_earlier_version_whose_aip_was_renewed_does_not_become_the_newest(two: tuple[World, World]) -> None:
    first, second = two
    own = first.publish().output["destinations"]["library"]["record"]
    record = second.publish().output["destinations"]["library"]["record"]
    renewed = preserved(first.store, {"content/other.txt": b"other"}).packages[0]
    before = replace(first.archive.packages[0], accepted=False)
    step = replace(first.archive.step, id=new_id(), checkpoint={})
    first.archive = replace(first.archive, packages=(before, renewed), step=step)
    later_left_alone(first, second, record)
    assert first.placements.known("library", first.archive.id).record == own
    assert len(first.target.published(first.resource)) == 2
    first.put_under_embargo("2990-01-01")
    later_left_alone(first, second, record)
    with first.target.wire() as wire:
        assert Records(wire).record(own).access["embargo"]["until"] == "2990-01-01"


def test_no_dip_is_made_of_an_earlier_version_that_is_not_published(made: Callable[..., World], target: Target) -> None:
    first, second = pair(made(content="dip", container="zip"), target)
    record = second.publish().output["destinations"]["library"]["record"]
    later_left_alone(first, second, record)
    assert dips(first) == []
    with first.target.wire("admin") as wire:
        Records(wire).delete(record, "spam", "not ours")
    (package,) = first.publish().packages
    assert dips(first) == [package.key]


def dips(world: World) -> list[str]:
    """The DIPs that lie in the store of an Archive."""
    return [each.ref.key for each in world.store.list("perdura-dips", "")]


def test_an_earlier_version_that_comes_late_does_not_become_the_newest(two: tuple[World, World]) -> None:
    first, second = two
    record = second.publish().output["destinations"]["library"]["record"]
    later_left_alone(first, second, record)
    with first.target.wire("admin") as wire:
        Records(wire).delete(record, "spam", "not ours")
    assert first.publish().state is StepState.COMPLETED


def test_an_aip_that_is_chosen_again_is_put_after_no_later_version(two: tuple[World, World]) -> None:
    first, second = two
    chosen = first.archive.packages[0]
    mistake = preserved(first.store, {"content/wrong.txt": b"wrong"}).packages[0]

    def use(wanted: Package, other: Package) -> None:
        packages = (replace(other, accepted=False), replace(wanted, accepted=True))
        first.archive = replace(
            first.archive, packages=packages, step=replace(first.archive.step, id=new_id(), checkpoint={})
        )

    for wanted, other in ((chosen, mistake), (mistake, chosen)):
        use(wanted, other)
        told(first)
    record = second.publish().output["destinations"]["library"]["record"]
    use(chosen, mistake)
    later_left_alone(first, second, record)
