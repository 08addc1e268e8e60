"""Pieces cut out of chunks that lie in one reused buffer, wherever the chunks happen to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdura.errors import ObjectChanged
from perdura.packages.window import Window

DATA = bytes(range(251)) * 4


class Reusing:
    """A source whose every chunk overwrites the one before, as a store's does."""

    name, size = "data", len(DATA)

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self.requests = 0

    def read(self, offset: int, length: int) -> bytes:
        return DATA[offset : offset + length]

    def read_into(self, offset: int, buffer: memoryview) -> int:
        data = self.read(offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def stream(self, offset: int, length: int, chunk: int = 0) -> Iterator[memoryview]:
        self.requests += 1
        buffer = memoryview(bytearray(self._chunk))
        for start in range(offset, offset + length, self._chunk):
            got = self.read_into(start, buffer[: min(self._chunk, offset + length - start)])
            if not got:
                return
            yield buffer[:got]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 250, 1004, 4096])
def test_pieces_are_the_bytes_that_lie_there_whatever_the_chunks(chunk: int) -> None:
    source = Reusing(chunk)
    window = Window(source, 3, len(DATA))
    position = 3
    for count in (0, 30, 5, 100, 1, 250, 64):
        assert bytes(window.take(count)) == DATA[position : position + count]
        position += count
        assert b"".join(bytes(piece) for piece in window.pieces(count)) == DATA[position : position + count]
        position += count
        window.skip(3)
        position += 3
    assert source.requests == 1


def test_a_source_that_ends_early_was_changed() -> None:
    with pytest.raises(ObjectChanged):
        Window(Reusing(64), 0, len(DATA) + 1).take(len(DATA) + 1)
    with pytest.raises(ObjectChanged):
        list(Window(Reusing(64), 0, len(DATA) + 1).pieces(len(DATA) + 1))
