"""Many pieces of one object in as few requests as their order allows: neighbours are read in one stream."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

from perdura.storage.store import ObjectRef, Store

GAP = 1 << 18
"""Bytes that are read and thrown away rather than asking anew."""


class Runs:
    """Reads pieces of an object that are asked for mostly in ascending order.

    `pieces` are (offset, size) of everything that will be asked for, in that order; those that lie close together make
    up one run, which is one request. A piece out of order is a request of its own. Not safe for several threads.
    """

    def __init__(self, store: Store, ref: ObjectRef, pieces: Iterable[tuple[int, int]]) -> None:
        self._store, self._ref = store, ref
        self._begins, self._ends = _joined(pieces)
        self._stream: Iterator[memoryview] | None = None
        self._position = self._end = 0
        self._rest = memoryview(b"")

    def read(self, offset: int, size: int) -> Iterator[memoryview]:
        """The bytes of one piece. A chunk is valid until the next one is asked for."""
        if size == 0:
            return
        if self._stream is None or not self._position <= offset <= offset + size <= self._end:
            self._position, self._end = offset, max(self._end_of_run(offset), offset + size)
            self._stream = self._store.stream(self._ref, offset, self._end - offset)
            self._rest = memoryview(b"")
        for _ in self._take(offset - self._position):
            pass
        yield from self._take(size)

    def _end_of_run(self, offset: int) -> int:
        run = bisect_right(self._begins, offset) - 1
        return self._ends[run] if run >= 0 and offset < self._ends[run] else 0

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


def _joined(pieces: Iterable[tuple[int, int]]) -> tuple[array[int], array[int]]:
    """Where the runs begin, ascending, and where each ends. A piece before its predecessor begins a run of its own."""
    begins, ends = array("Q"), array("Q")
    begin = end = -1
    for offset, size in pieces:
        if size == 0:
            continue
        if end >= 0 and begin <= offset <= end + GAP:
            end = max(end, offset + size)
            continue
        if end >= 0:
            begins.append(begin)
            ends.append(end)
        begin, end = offset, offset + size
    if end >= 0:
        begins.append(begin)
        ends.append(end)
    if all(one <= other for one, other in pairwise(begins)):
        return begins, ends
    found = sorted(zip(begins, ends, strict=True))
    return array("Q", (each[0] for each in found)), array("Q", (each[1] for each in found))
