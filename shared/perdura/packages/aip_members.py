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
    """A table that grows; a member is made when it is asked for.

    The folder of members that follow each other is kept once: deep ones are longer than the names within them. Of the
    digests of each the first `kept` bytes are (`aip_digests`).
    """

    def __init__(self, kept: int = PACKED) -> None:
        self._folders, self._names = _Texts(), _Texts()
        self._folder = array("I")
        self._places = array("Q")
        self._digests = bytearray()
        self._kept = kept

    def append(self, member: Member) -> None:
        """Add a member."""
        folder, slash, name = member.path.encode().rpartition(b"/")
        folder += slash
        if not len(self._folders) or self._folders[-1] != folder:
            self._folders.append(folder)
        self._folder.append(len(self._folders) - 1)
        self._names.append(name)
        self._places.extend((member.offset, member.size))
        self._digests += member.digests.packed[: self._kept]

    def path(self, place: int) -> str:
        """Path of a member."""
        return self._path(place).decode()

    def in_order(self) -> list[int]:
        """Places of the members by path, as bytes."""
        return sorted(range(len(self)), key=self._path)

    @property
    def size(self) -> int:
        """Bytes of all members."""
        return sum(self._places[1::2])

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> Member: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Member]: ...

    def __getitem__(self, place: int | slice) -> Member | Sequence[Member]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        packed = bytes(self._digests[place * self._kept : (place + 1) * self._kept])
        offset, size = self._places[2 * place : 2 * place + 2]
        return Member(self.path(place), offset, size, MemberDigests.of_packed(packed))

    def _path(self, place: int) -> bytes:
        return self._folders[self._folder[place]] + self._names[place]


class _Texts:
    """Texts one after the other in one buffer."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", (0,))

    def append(self, text: bytes) -> None:
        self._bytes += text
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> bytes:
        if place < 0:
            place += len(self)
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])
