"""What an InvenioRDM has of one Resource is found in pages, however much each record says of itself."""

from __future__ import annotations

import pytest

from perdura.clients.inveniordm.records import FOUND, Records
from perdura.clients.inveniordm.wire import RdmTooMuch
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.world import Package, Target

LARGE = 600_000


def drafts(target: Target, number: int, size: int = 0) -> tuple[str, list[str]]:
    """So many drafts of one Resource, each with a description of that size; what they are found by, and their ids."""
    first = Package()
    with target.wire() as wire:
        made = [
            Records(wire).create(first.next(metadata={"description": "x" * size}).order().body) for _ in range(number)
        ]
    return f'metadata.identifiers.identifier:"{first.resource}"', [record.id for record in made]


def local(fake: Fake) -> Target:
    return Target(fake.url, TOKENS, fake.transport, fake)


def test_what_does_not_fit_on_a_page_is_found_on_the_next(target: Target) -> None:
    query, made = drafts(target, 27)
    with target.wire() as wire:
        assert sorted(record.id for record in Records(wire).find(query)) == sorted(made)
        assert wire.calls == 2


def test_records_that_are_too_large_together_are_asked_for_by_fewer(fake: Fake) -> None:
    query, made = drafts(local(fake), 32, LARGE)
    with local(fake).wire() as wire:
        found = Records(wire).find(query)
        assert sorted(record.id for record in found) == sorted(made)
        assert found[0].id == made[-1]
        assert wire.calls <= 1 + 32 / 5 + 1


def test_one_record_that_is_too_large_by_itself_is_refused_in_words(fake: Fake) -> None:
    query, _ = drafts(local(fake), 1)
    (item,) = fake.items.values()
    item.draft["metadata"]["description"] = "x" * (17 * 2**20)
    with local(fake).wire() as wire, pytest.raises(RdmTooMuch, match="far too much"):
        Records(wire).find(query)


def test_no_more_than_the_last_hundred_are_looked_at(fake: Fake) -> None:
    query, made = drafts(local(fake), FOUND + 10)
    with local(fake).wire() as wire:
        assert [record.id for record in Records(wire).find(query)] == made[: -FOUND - 1 : -1]
        assert wire.calls == 4


def test_a_resource_whose_records_are_large_is_published_once(fake: Fake) -> None:
    target, first = local(fake), Package(metadata={"description": "x" * LARGE})
    target.publish(first)
    versions = [first.next(metadata={"description": "x" * LARGE}) for _ in range(29)]
    for version in versions:
        target.publish(version)
    assert [record.index for record in target.published(first.resource)] == list(range(1, 31))
    target.publish(versions[-1], remember=False)
    assert len(target.published(first.resource)) == 30
    assert len({item.parent for item in fake.items.values()}) == 1
