"""Options: which of them the API is told, and how long a listing may be."""

from __future__ import annotations

import pytest

from perdura.commands.options import given
from tests.unit.commands.conftest import Run
from tests.unit.commands.fake_registry import FakeRegistry

WHICH = {"query": "", "set": None, "pipeline": (), "state": ("failed",), "grace": 0, "restricted": False}


def test_what_was_not_given_is_not_told() -> None:
    told = {"state": ["failed"], "grace": 0, "restricted": False}
    assert given(WHICH) == told
    assert given(WHICH, blank=True) == {**told, "query": ""}


@pytest.mark.parametrize("listing", [("tape", "jobs"), ("archives", "list"), ("jobs", "list")])
@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_listing_of_nothing_is_refused(
    run: Run, registry: FakeRegistry, listing: tuple[str, ...], limit: str
) -> None:
    assert run(*listing, "--limit", limit).exit_code == 2
    assert registry.requests == []
