"""One request for many things, some of which spoil every answer they are in."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest

from perdura.clients.together import FAILURES, told_together
from perdura.errors import UpstreamUnavailable

ITEMS = [f"{n:03}" for n in range(200)]


def placements() -> list[set[int]]:
    """Five of two hundred: side by side, spread evenly, and by chance."""
    side_by_side = [set(range(start, start + 5)) for start in range(196)]
    spread = [{start + 40 * n for n in range(5)} for start in range(40)]
    chance = random.Random(7)
    return [*side_by_side, *spread, *(set(chance.sample(range(200), 5)) for _ in range(500))]


def test_five_of_two_hundred_that_spoil_an_answer_are_found_wherever_they_are() -> None:
    for bad in placements():
        failed = []

        def ask(part: Sequence[str], bad: set[int] = bad, failed: list[int] = failed) -> Mapping[str, str]:
            if any(int(item) in bad for item in part):
                failed.append(len(part))
                raise UpstreamUnavailable("500")
            return dict.fromkeys(part, "told")

        found = told_together(ITEMS, ask, lambda item, why: why, lambda error: True)
        assert {int(item) for item, said in found.items() if said != "told"} == bad
        assert len(failed) < FAILURES


@pytest.mark.parametrize("many", [10, 20, 40])
def test_of_many_that_spoil_an_answer_those_beside_them_may_wait_but_not_all(many: int) -> None:
    bad = set(random.Random(7).sample(range(200), many))

    def ask(part: Sequence[str]) -> Mapping[str, str]:
        if any(int(item) in bad for item in part):
            raise UpstreamUnavailable("500")
        return dict.fromkeys(part, "told")

    found = told_together(ITEMS, ask, lambda item, why: why, lambda error: True)
    told = {int(item) for item, said in found.items() if said == "told"}
    assert told
    assert not told & bad


@pytest.mark.parametrize("many", range(1, 12))
def test_a_server_that_errs_at_everything_is_at_fault_however_few_are_asked_for(many: int) -> None:
    def ask(part: Sequence[str]) -> Mapping[str, str]:
        raise UpstreamUnavailable(f"500 for {len(part)}")

    with pytest.raises(UpstreamUnavailable):
        told_together(ITEMS[:many], ask, lambda item, why: why, lambda error: True)
