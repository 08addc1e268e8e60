"""The files of a SIP as they lie in the AIP, with what was learned of them: in columns, for there may be many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import overload

from perdura.outcome import Finding
from perdura.packages.aip import Layout
from perdura.packages.aip_members import Member, Members
from perdura.ports import Identification, Scan
from perdura.premis.model import Identifier
from perdura.steps.preserve_characterise import Characterising
from perdura.steps.preserve_declared import Declarations
from perdura.steps.preserve_rights_read import ToldRights


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of the SIP as it lies in the AIP; `number` is its place among all of them."""

    number: int
    id: str
    member: Member
    layout: Layout
    format: Identification | None
    scan: Scan | None
    derived_from: str | None = None
    """Id of the file that this one was made from."""

    @property
    def original(self) -> str:
        """Path of the file in the SIP."""
        path = self.member.path
        if self.is_object:
            return "data/" + path.removeprefix(self.layout.objects)
        return path.removeprefix(self.layout.submission)

    @property
    def is_object(self) -> bool:
        """Whether it is payload of the AIP's objects, not documentation of the submission."""
        return self.member.path.startswith(self.layout.objects)


class CopiedFiles(Sequence[CopiedFile]):
    """A table of files; one is made when it is asked for."""

    def __init__(
        self,
        members: Members,
        ids: bytes,
        layout: Layout,
        formats: Sequence[Identification | None],
        scans: Sequence[Scan | None],
        derived_from: Mapping[int, str],
    ) -> None:
        """`members` may go on after the files; `ids` has 16 bytes of each; `formats` and `scans` may end before."""
        self._members = members
        self._ids = ids
        self._layout = layout
        self._formats, self._scans = formats, scans
        self._derived_from = derived_from

    def id(self, number: int) -> str:
        """Identifier of a file."""
        digits = self._ids[16 * number : 16 * number + 16].hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def link(self, number: int) -> Identifier:
        """What events name a file by."""
        return Identifier("UUID", self.id(number))

    def original(self, number: int) -> str:
        """Path of a file in the SIP."""
        return self[number].original

    def format(self, number: int) -> Identification | None:
        """Format of a file."""
        return self._formats[number] if number < len(self._formats) else None

    def scan(self, number: int) -> Scan | None:
        """What the virus scanner said of a file."""
        return self._scans[number] if number < len(self._scans) else None

    def in_order(self) -> list[int]:
        """Numbers of the files by path, component by component."""
        return sorted(range(len(self)), key=lambda number: self._members.path(number).replace("/", "\0"))

    def __len__(self) -> int:
        return len(self._ids) // 16

    @overload
    def __getitem__(self, number: int) -> CopiedFile: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[CopiedFile]: ...

    def __getitem__(self, number: int | slice) -> CopiedFile | Sequence[CopiedFile]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return CopiedFile(
            number,
            self.id(number),
            self._members[number],
            self._layout,
            self.format(number),
            self.scan(number),
            self._derived_from.get(number),
        )


@dataclass(frozen=True, slots=True)
class Copied:
    """All files of the SIP, in the order of the tar; what its tag files say, and where they say otherwise."""

    files: CopiedFiles
    declarations: Declarations
    mismatches: Sequence[Finding]
    characterising: Characterising
    rights: ToldRights
    outputs: Sequence[Member] = ()
