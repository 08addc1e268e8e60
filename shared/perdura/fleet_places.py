"""Which Archivematica has a place for a submission: first come, first served, apart from any I/O.

Only who could go there too is before one at an instance. A package that waits for much room lets smaller ones pass for
a while, and then is kept room for: else it would wait as long as smaller ones come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from perdura.fleet import Terms

LETS_PASS = 3600.0
"""Seconds for which a package that does not fit lets younger ones pass that do."""


@dataclass(frozen=True, slots=True)
class Room:
    """An instance that takes work, with so many packages and bytes in flight; `places` is how many it may have now.

    `failures` counts the requests in a row that it did not answer or refused.
    """

    terms: Terms
    packages: int
    bytes: int
    places: int
    failures: int = 0

    @property
    def load(self) -> tuple[bool, float, int, str]:
        """What is least for the instance that is chosen: one that failed last comes after all that did not."""
        return self.failures > 0, self.packages / self.terms.packages, self.bytes, self.terms.name


@dataclass(frozen=True, slots=True)
class Waiting:
    """Who waits for a place: size in bytes, the instance that was wished for, those that are out, seconds waited."""

    size: int
    wanted: str | None = None
    refused: tuple[str, ...] = ()
    waited: float = 0.0

    def may_go(self, terms: Terms) -> bool:
        """Whether an instance will ever do, were it empty."""
        fits = terms.bytes is None or self.size <= terms.bytes
        return self.wanted in (None, terms.name) and terms.name not in self.refused and fits


def place(mine: Waiting, rooms: Iterable[Room], before: Sequence[Waiting] = ()) -> Room | None:
    """The least-loaded sound instance with room for `mine` once those `before` it, oldest first, have chosen."""
    left = {room.terms.name: room for room in rooms}
    for each in before:
        possible = [room for room in left.values() if each.may_go(room.terms)]
        chosen = _least([room for room in possible if _has_room(each, room)])
        if chosen is not None:
            left[chosen.terms.name] = replace(chosen, packages=chosen.packages + 1, bytes=chosen.bytes + each.size)
        elif possible and each.waited > LETS_PASS:
            del left[min(possible, key=lambda room: room.bytes).terms.name]
    return _least([room for room in left.values() if mine.may_go(room.terms) and _has_room(mine, room)])


def _has_room(waiting: Waiting, room: Room) -> bool:
    fits = room.terms.bytes is None or room.bytes + waiting.size <= room.terms.bytes
    return room.packages < room.places and fits


def _least(rooms: Sequence[Room]) -> Room | None:
    return min(rooms, key=lambda room: room.load, default=None)
