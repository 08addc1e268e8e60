"""Digests of one algorithm by member, side by side in one block: a dict of them takes five times the memory."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from mmap import mmap

from perdura.storage.digests import HEX_LENGTHS

_ROW = 256
"""Members that are compared at once."""


class DigestTable(MutableMapping[int, bytes]):
    """Member index -> digest, in the order of the indexes. Several threads may fill it.

    There is room for so many members; room that is not used takes no memory.
    """

    __slots__ = ("_block", "_there", "_width")

    def __init__(self, algorithm: str, members: int) -> None:
        self._width = HEX_LENGTHS[algorithm] // 2
        self._block = mmap(-1, max(members, 1) * self._width)
        self._there = bytearray(members)

    def __setitem__(self, member: int, digest: bytes) -> None:
        """Raises IndexError for a digest that is not as long as those of the algorithm."""
        at = member * self._width
        self._block[at : at + self._width] = digest
        self._there[member] = 1

    def __getitem__(self, member: int) -> bytes:
        if not self._there[member]:
            raise KeyError(member)
        at = member * self._width
        return self._block[at : at + self._width]

    def __contains__(self, member: object) -> bool:
        return isinstance(member, int) and self._there[member] == 1

    def __iter__(self) -> Iterator[int]:
        return (member for member, there in enumerate(self._there) if there)

    def __len__(self) -> int:
        return self._there.count(1)

    def __delitem__(self, member: int) -> None:
        if member not in self:
            raise KeyError(member)
        self._there[member] = 0

    def put_row(self, first: int, digests: bytes) -> bool:
        """Put those of members that follow one another, unless some have one already; says whether it did."""
        count = len(digests) // self._width
        if any(self._there[first : first + count]):
            return False
        at = first * self._width
        self._block[at : at + len(digests)] = digests
        self._there[first : first + count] = b"\1" * count
        return True

    def differing(self, computed: DigestTable) -> Iterator[int]:
        """Members whose digest is another in that table, of the same algorithm and as many members; all are in it."""
        step = _ROW * self._width
        with memoryview(self._block) as ours, memoryview(computed._block) as theirs:
            for row in range(0, len(self._there), _ROW):
                at = row * self._width
                if ours[at : at + step] == theirs[at : at + step]:
                    continue
                for member in range(row, min(row + _ROW, len(self._there))):
                    if self._there[member] and self[member] != computed[member]:
                        yield member
