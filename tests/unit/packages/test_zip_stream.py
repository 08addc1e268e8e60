"""Zips made while they are sent."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.packages.zip_stream import Entry, State, Truncated, ZipStream, length, stream, window

AT = datetime(2026, 11, 24, 12, 30, 42, tzinfo=UTC)


def _entries(files: dict[str, bytes]) -> list[Entry]:
    def pieces(data: bytes, start: int) -> list[bytes]:
        return [data[at : at + 7] for at in range(start, len(data), 7)]

    return [Entry(path, len(data), lambda start, data=data: pieces(data, start)) for path, data in files.items()]  # type: ignore[misc]


@given(st.dictionaries(st.text("abcü/ .", min_size=1, max_size=20), st.binary(max_size=300), max_size=6))
def test_the_length_is_known_before_and_every_file_comes_back(files: dict[str, bytes]) -> None:
    entries = _entries(files)
    whole = b"".join(stream(entries, AT))
    assert len(whole) == length(entries)
    with zipfile.ZipFile(io.BytesIO(whole)) as opened:
        assert opened.testzip() is None
        assert {info.orig_filename: opened.read(info) for info in opened.infolist()} == files


@given(st.integers(0, 400), st.integers(0, 400))
def test_a_window_is_that_part_of_the_whole(start: int, stop: int) -> None:
    entries = _entries({"a": b"x" * 100, "b/c": b"y" * 33})
    whole = b"".join(stream(entries, AT))
    assert b"".join(window(stream(entries, AT), start, stop)) == whole[start:stop]


@pytest.mark.parametrize("claimed", [9, 11])
def test_a_file_of_another_size_ends_the_zip(claimed: int) -> None:
    with pytest.raises(Truncated):
        list(stream([Entry("a", claimed, lambda start: [b"0123456789"[start:]])], AT))


def test_sizes_beyond_four_gibibytes_are_counted() -> None:
    assert length([Entry("a", 2**40, lambda start: ())]) > 2**40


@given(st.integers(1, 60), st.data())
def test_a_zip_that_was_put_down_anywhere_is_the_same(room: int, data: st.DataObject) -> None:
    """It is made by several, each from the state that the one before it left at the end of any chunk."""
    entries = _entries({"a": b"x" * 100, "empty": b"", "b/ü": b"y" * 33})
    whole, made, state = b"".join(stream(entries, AT)), b"", State()
    while len(made) < len(whole):
        making = ZipStream(entries, AT, state)
        for piece in islice(making.chunks(lambda: room), data.draw(st.integers(1, 40))):
            assert len(piece) <= room
            made += piece
        state = making.state
        assert state.position == len(made)
    assert made == whole
    assert list(ZipStream(entries, AT, state).chunks()) == []
