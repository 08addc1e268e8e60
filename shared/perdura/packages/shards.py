"""Cuts a verification into shards that different invocations can do at the same time (packages.md 5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_FILES = 50_000
"""Most members of one shard."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The members `first` to `stop` (exclusive) in the order in which they lie; `size` is in bytes.

    A long one is a single file, whose digests are continued from one invocation to the next.
    """

    first: int
    stop: int
    size: int
    long: bool = False

    @property
    def key(self) -> str:
        """Its name among the shards of one verification."""
        return f"{self.first:07d}-{self.stop:07d}"


def shards(sizes: Sequence[int], limit: int) -> list[Shard]:
    """Neighbouring members up to `limit` bytes together; every larger member alone."""
    found: list[Shard] = []
    first = total = 0
    for index, size in enumerate(sizes):
        long = size > limit
        if index > first and (long or total + size > limit or index - first >= MOST_FILES):
            found.append(Shard(first, index, total))
            first, total = index, 0
        if long:
            found.append(Shard(index, index + 1, size, long=True))
            first, total = index + 1, 0
        else:
            total += size
    if first < len(sizes):
        found.append(Shard(first, len(sizes), total))
    return found
