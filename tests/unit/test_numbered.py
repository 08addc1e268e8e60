"""The parameters of a statement are numbered once, as the driver would number them each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pg8000 import legacy
from pg8000.dbapi import convert_paramstyle

from perdura import numbered


@given(st.lists(st.sampled_from(["%s", "%%", "'", '"', "E'", "\\", "$$", "--", "\n", " ", "a", ":", "?"])).map("".join))
def test_a_statement_is_numbered_as_the_driver_does(statement: str) -> None:
    outcomes = []
    for number in (convert_paramstyle, numbered.numbered, numbered.numbered):
        try:
            outcomes.append(number("format", statement, (1, 2)))
        except Exception as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_other_ways_to_mark_parameters_are_left_to_the_driver() -> None:
    assert numbered.numbered("named", "SELECT :b, :a, :b", {"a": 1, "b": 2}) == ("SELECT $1, $2, $1", (2, 1))


def test_a_statement_is_read_once_and_a_very_long_one_each_time() -> None:
    numbered._numbered.cache_clear()
    for _ in range(3):
        assert numbered.numbered("format", "SELECT %s", (1,)) == ("SELECT $1", (1,))
        assert numbered.numbered("format", "SELECT %s" + " " * numbered.LONGEST, (1,))[0].startswith("SELECT $1 ")
    assert numbered._numbered.cache_info().misses == 1
    assert numbered._numbered.cache_info().currsize == 1


def test_the_driver_remembers_after_it_was_told_to() -> None:
    numbered.remember()
    assert legacy.convert_paramstyle is numbered.numbered
