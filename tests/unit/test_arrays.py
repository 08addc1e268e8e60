"""Arrays in the binary format: what the driver's own text form says, PostgreSQL's layout says."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from perdura import arrays


def _elements(value: bytes) -> tuple[tuple[int, ...], list[bytes | None]]:
    head, rest, found = struct.unpack("!iiIii", value[:20]), value[20:], []
    while rest:
        (length,) = struct.unpack("!i", rest[:4])
        found.append(None if length < 0 else rest[4 : 4 + length])
        rest = rest[4 + max(0, length) :]
    return head, found


def test_texts_may_be_none_empty_and_of_any_script() -> None:
    head, found = _elements(arrays.texts(["a", None, "", "ü€😀"]))
    assert head == (1, 1, 25, 4, 1)
    assert found == [b"a", None, b"", "ü€😀".encode()]


def test_numbers_keep_their_sign() -> None:
    head, found = _elements(arrays.bigints([-1, 2**62]))
    assert head == (1, 0, 20, 2, 1)
    assert [int.from_bytes(each or b"", signed=True) for each in found] == [-1, 2**62]
    assert _elements(arrays.integers([7]))[1] == [b"\0\0\0\7"]


def test_moments_are_microseconds_since_2000_in_any_zone() -> None:
    east = datetime(2000, 1, 1, 2, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    _, found = _elements(arrays.moments([east, datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)]))
    assert [int.from_bytes(each or b"", signed=True) for each in found] == [1, -1_000_000]


def test_uuids_are_sixteen_bytes() -> None:
    assert _elements(arrays.uuids([UUID(int=5)]))[1] == [UUID(int=5).bytes]


def test_an_empty_array_has_no_elements() -> None:
    assert _elements(arrays.texts([])) == ((1, 0, 25, 0, 1), [])
