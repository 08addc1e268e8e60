"""A table of digests is a mapping like any other, only smaller."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.packages.digest_table import DigestTable

_MEMBERS = 1000
_members = st.dictionaries(st.integers(0, _MEMBERS - 1), st.binary(min_size=16, max_size=16))


def table(digests: dict[int, bytes]) -> DigestTable:
    made = DigestTable("md5", _MEMBERS)
    made.update(digests)
    return made


@given(_members)
def test_it_holds_what_was_put_into_it(digests: dict[int, bytes]) -> None:
    made = table(digests)
    assert list(made.items()) == sorted(digests.items())
    assert len(made) == len(digests)
    assert [member for member in range(_MEMBERS) if member in made] == sorted(digests)
    assert all(made.get(member) == digests.get(member) for member in range(_MEMBERS))


@given(_members, _members)
def test_it_finds_what_is_another_in_a_second_table(declared: dict[int, bytes], changed: dict[int, bytes]) -> None:
    computed = dict.fromkeys(range(_MEMBERS), b"x" * 16) | declared | changed
    expected = [member for member, digest in sorted(declared.items()) if computed[member] != digest]
    assert list(table(declared).differing(table(computed))) == expected


@given(_members, st.integers(0, _MEMBERS - 20), st.integers(1, 20))
def test_a_row_is_put_at_once_or_not_at_all(digests: dict[int, bytes], first: int, count: int) -> None:
    made, row = table(digests), [hashlib.md5(bytes([number])).digest() for number in range(count)]
    free = not any(member in digests for member in range(first, first + count))
    assert made.put_row(first, b"".join(row)) is free
    assert dict(made) == digests | (dict(enumerate(row, first)) if free else {})


def test_what_was_let_go_of_is_not_there() -> None:
    made = table({3: b"3" * 16})
    assert made.pop(3) == b"3" * 16
    assert made.pop(3, None) is None
    assert 3 not in made
    with pytest.raises(KeyError):
        del made[3]


def test_a_digest_of_another_length_is_refused() -> None:
    with pytest.raises(IndexError):
        table({})[0] = b"short"


def test_it_takes_little_more_memory_than_the_digests() -> None:
    tracemalloc.start()
    made = DigestTable("sha256", 100_000)
    for member in range(100_000):
        made[member] = b"0" * 32
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size < 200_000  # besides the block itself, which is 32 bytes for each
