"""Cursors."""

from __future__ import annotations

import base64
from datetime import UTC
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.api import cursors
from perdura.api.problems import Problem


@given(st.lists(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), max_size=4))
def test_what_was_encoded_comes_back(parts: list[str]) -> None:
    assert cursors.decode(cursors.encode(*parts), len(parts)) == tuple(parts)


@given(st.text(max_size=60))
def test_nothing_else_is_taken_for_a_cursor(text: str) -> None:
    for decode in (cursors.decode_moment, cursors.decode_sequence):
        with pytest.raises(Problem) as refused:
            decode(text)
        assert refused.value.status == 422


@pytest.mark.parametrize(
    "parts",
    [["0001-01-01T00:00:00+14:00", str(UUID(int=0))], ["9999-12-31T23:59:59-14:00", str(UUID(int=0))], ["\ud800", "x"]],
)
def test_what_no_database_takes_is_no_cursor(parts: list[str]) -> None:
    with pytest.raises(Problem):
        cursors.decode_moment(cursors.encode(*parts))


@pytest.mark.parametrize("text", ["[" * 3000, '{"a":' * 3000, "1" * 5000])
def test_no_depth_is_too_great_to_be_refused(text: str) -> None:
    with pytest.raises(Problem):
        cursors.decode(base64.urlsafe_b64encode(text.encode()).decode().rstrip("="), 2)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_moments(moment: object, identifier: object) -> None:
    assert cursors.decode_moment(cursors.encode_moment(moment, identifier)) == (moment, identifier)  # type: ignore[arg-type]
