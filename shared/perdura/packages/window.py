"""Cuts pieces out of bytes that come in chunks: a chunk is digested while the processor's cache still holds it.

Receiving into one small buffer and digesting it at once costs a fifth less than filling a large one first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from perdura.errors import ObjectChanged

if TYPE_CHECKING:
    from perdura.packages.source import ByteSource

WHOLE = 2**18
"""Bytes up to which a piece is better put together than handed out in parts."""


class Window:
    """A range of a source, read forward once. Whatever it gives is valid until it is asked for more."""

    def __init__(self, source: ByteSource, start: int, stop: int) -> None:
        """Nothing is read before it is asked for; then the range is one request."""
        self._chunks = source.stream(start, stop - start)
        self._chunk = memoryview(b"")
        self._at = 0

    def take(self, count: int) -> memoryview:
        """The next bytes in one piece, copied only where two chunks meet; raises ObjectChanged when there are fewer."""
        at, end = self._at, self._at + count
        if end <= len(self._chunk):
            self._at = end
            return self._chunk[at:end]
        whole = bytearray()
        for piece in self.pieces(count):
            whole += piece
        return memoryview(whole)

    def pieces(self, count: int) -> Iterator[memoryview]:
        """The next bytes as they come; raises ObjectChanged when there are fewer."""
        while count > 0:
            if self._at == len(self._chunk):
                self._fill()
            piece = self._chunk[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece

    def skip(self, count: int) -> None:
        """Pass over the next bytes."""
        for _ in self.pieces(count):
            pass

    def _fill(self) -> None:
        self._at = 0
        self._chunk = next(self._chunks, memoryview(b""))
        if not self._chunk:
            raise ObjectChanged("the archive was changed while it was being read")
