"""Pieces of one object are read in few requests, whatever their order, and every piece is what lies there."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from perdura.storage.memory import MemoryStore
from perdura.storage.runs import GAP, Runs
from perdura.storage.store import ObjectRef


class Counted(MemoryStore):
    """Counts what is asked of it."""

    asked = 0

    def stream(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
        self.asked += 1
        return super().stream(ref, offset, length)


@pytest.mark.parametrize("order", ["ascending", "descending", "mixed"])
def test_every_piece_is_what_lies_there_whatever_their_order(order: str) -> None:
    store, data = Counted(), random.Random(1).randbytes(4 * GAP)
    ref = store.put("bucket", "whole", data).info.ref
    pieces = [(0, 10), (100, 20), (120, 0), (2 * GAP, 5), (2 * GAP + 50, 5), (len(data) - 3, 3)]
    if order != "ascending":
        pieces = pieces[::-1] if order == "descending" else random.Random(2).sample(pieces, len(pieces))
    store.asked, runs = 0, Runs(store, ref, pieces)
    for offset, size in pieces:
        assert b"".join(bytes(chunk) for chunk in runs.read(offset, size)) == data[offset : offset + size]
    assert store.asked == 3 or (order != "ascending" and store.asked <= 5)
