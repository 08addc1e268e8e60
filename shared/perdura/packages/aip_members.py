"""The members of an AIP in columns: 100,000 files must not cost 100,000 objects."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from perdura.packages.aip_digests import PACKED, MemberDigests


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the AIP: path in the bag, where its body begins in the tar, and its size, both in bytes."""

    path: str
    offset: int
    size: int
    digests: MemberDigests


class Members(Sequence[Member]):
    """A table that grows; a member is made when it is asked for."""

    def __init__(self) -> None:
        self._paths = bytearray()
        self._ends = array("Q", (0,))
        self._places = array("Q")
        self._digests = bytearray()

    def append(self, member: Member) -> None:
        """Add a member."""
        self._paths += member.path.encode()
        self._ends.append(len(self._paths))
        self._places.extend((member.offset, member.size))
        self._digests += member.digests.packed

    def path(self, place: int) -> str:
        """Path of a member."""
        return self._paths[self._ends[place] : self._ends[place + 1]].decode()

    def in_order(self) -> list[int]:
        """Places of the members by path, as bytes."""
        return sorted(range(len(self)), key=lambda place: self._paths[self._ends[place] : self._ends[place + 1]])

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(self._places[1::2])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Member: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Member]: ...

    def __getitem__(self, place: int | slice) -> Member | Sequence[Member]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        packed = bytes(self._digests[place * PACKED : (place + 1) * PACKED])
        offset, size = self._places[2 * place : 2 * place + 2]
        return Member(self.path(place), offset, size, MemberDigests.of_packed(packed))
