"""Many pieces of one object in as few requests as their order allows: neighbours are read in one stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perdura.storage.store import ObjectRef, Store

GAP = 1 << 18
"""Bytes that are read and thrown away rather than asking anew."""


class Runs:
    """Reads pieces of an object that are asked for mostly in ascending order.

    `pieces` are (offset, size) of everything that will be asked for; those that lie close together make up one run,
    which is one request. A piece out of order is a request of its own. Not safe for several threads.
    """

    def __init__(self, store: Store, ref: ObjectRef, pieces: Sequence[tuple[int, int]]) -> None:
        self._store, self._ref = store, ref
        self._ends = _ends(pieces)
        self._stream: Iterator[memoryview] | None = None
        self._position = self._end = 0
        self._rest = memoryview(b"")

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes of one piece. A chunk is valid until the next one is asked for."""
        if size == 0:
            return
        if self._stream is None or not self._position <= offset <= offset + size <= self._end:
            self._position, self._end = offset, max(self._ends.get(offset, 0), offset + size)
            self._stream = self._store.stream(self._ref, offset, self._end - offset)
            self._rest = memoryview(b"")
        for _ in self._take(offset - self._position):
            pass
        yield from self._take(size)

    def _take(self, count: int) -> Iterator[memoryview]:
        while count > 0:
            if not self._rest:
                assert self._stream is not None
                self._rest = next(self._stream, memoryview(b""))
                if not self._rest:
                    self._stream = None
                    return
            chunk = self._rest[:count]
            self._rest = self._rest[len(chunk) :]
            self._position += len(chunk)
            count -= len(chunk)
            yield chunk


def _ends(pieces: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Where the run ends that each piece belongs to, by the offset of the piece."""
    ends: dict[int, int] = {}
    run: list[int] = []
    end = 0
    for offset, size in sorted(piece for piece in pieces if piece[1]):
        if run and offset - end > GAP:
            ends.update(dict.fromkeys(run, end))
            run = []
        run.append(offset)
        end = max(end, offset + size)
    ends.update(dict.fromkeys(run, end))
    return ends
