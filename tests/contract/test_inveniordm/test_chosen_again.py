"""A person puts an older AIP into use again: what is published follows, as the newest version of the record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import httpx

from perdura.errors import Retryable
from perdura.ids import new_id
from perdura.outcome import Package, StepState
from tests.contract.test_inveniordm.meanwhile import World
from tests.contract.test_inveniordm.ports import preserved


def two_aips(world: World) -> tuple[Package, Package]:
    """The AIP of the Archive, and one that was made of it by mistake."""
    return world.archive.packages[0], preserved(world.store, {"content/wrong.txt": b"wrong"}).packages[0]


def use(world: World, wanted: Package, *others: Package) -> None:
    packages = tuple(replace(each, accepted=each is wanted) for each in (wanted, *others))
    world.archive = replace(
        world.archive, packages=packages, step=replace(world.archive.step, id=new_id(), checkpoint={})
    )


def told(world: World) -> int:
    """The number of the version that a publication ends with."""
    outcome = world.publish()
    assert outcome.state is StepState.COMPLETED, outcome.message
    number: int = outcome.output["destinations"]["library"]["version"]
    return number


def test_an_aip_that_a_person_chose_again_becomes_the_newest_version(made: Callable[..., World]) -> None:
    world = made()
    chosen, mistake = two_aips(world)
    for wanted, number in ((chosen, 1), (mistake, 2), (chosen, 3), (chosen, 3), (mistake, 4)):
        use(world, wanted, mistake if wanted is chosen else chosen)
        assert told(world) == number
        newest = world.target.published(world.resource)[-1]
        assert (newest.index, newest.latest) == (number, True)
        assert ("content/wrong.txt" in world.target.digests(newest.id)) is (wanted is mistake)


def test_a_chosen_aip_is_one_version_wherever_its_worker_dies(made: Callable[..., World]) -> None:
    world = made()
    chosen, mistake = two_aips(world)
    for wanted, other in ((chosen, mistake), (mistake, chosen)):
        use(world, wanted, other)
        told(world)

    def die() -> None:
        raise httpx.ReadTimeout("the connection is gone")

    use(world, chosen, mistake)
    for method, end in (("POST", "/versions"), ("PUT", "/draft"), ("POST", "/actions/publish")):
        with suppress(Retryable):
            assert world.publish(method, end, die).state is StepState.WAITING
    assert told(world) == 3
    assert len(world.target.published(world.resource)) == 3
    assert world.target.drafts(world.resource) == []
