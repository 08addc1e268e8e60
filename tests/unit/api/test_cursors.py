"""Cursors."""

from __future__ import annotations

from datetime import UTC

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


@given(st.datetimes(timezones=st.just(UTC)), st.uuids())
def test_moments(moment: object, identifier: object) -> None:
    assert cursors.decode_moment(cursors.encode_moment(moment, identifier)) == (moment, identifier)  # type: ignore[arg-type]
