"""What every kind of container offers to the rules above it: members, and their bytes in units of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

SPAN = 32 * 2**20
"""Bytes of the archive up to which neighbouring members make up one unit of work, which is one request."""

Task = Callable[[], Iterator[tuple[int, Iterable[memoryview]]]]
"""Reads some members and yields (index, bytes in chunks) of each, after checking what the container itself says of
them. Chunks are valid until the next is asked for, and have to be used before the next member is; raises
PackageRejected at the latest after the last chunk."""


class Member(Protocol):
    """One file or directory of a container, by its path without `./` and without a trailing `/`."""

    @property
    def path(self) -> str:
        """Path inside the container."""
        ...

    @property
    def size(self) -> int:
        """Unpacked bytes."""
        ...

    @property
    def is_directory(self) -> bool:
        """Whether it only makes a directory exist."""
        ...


class Container(Protocol):
    """A container whose structure was found sound; its members' bytes are checked while they are read."""

    @property
    def kind(self) -> str:
        """zip, tar, tar.gz, directory or prefix."""
        ...

    @property
    def members(self) -> Sequence[Member]:
        """All members."""
        ...

    @property
    def warnings(self) -> Sequence[tuple[str, str | None]]:
        """Rule codes (and paths) of what a careful archivist would want to know."""
        ...

    @property
    def has_plain_names(self) -> bool:
        """Whether every path was found short, ASCII, safe and portable (`names.PlainNames`)."""
        ...

    @property
    def stored_size(self) -> int:
        """Bytes of the container itself."""
        ...

    @property
    def parallelism(self) -> int | None:
        """Threads that reading gains from; None: one per processor."""
        ...

    def offset(self, index: int, /) -> int | None:
        """Where a member's bytes begin in the archive when they lie there uncompressed, else None."""
        ...

    def tasks(self, wanted: Callable[[int], bool]) -> Iterable[Task]:
        """Units of work that read the wanted members, in the order in which they lie."""
        ...

    def read(self, index: int) -> Iterator[memoryview]:
        """The bytes of one member, checked as in `tasks`."""
        ...

    def resume(self, index: int, offset: int, /) -> Iterator[memoryview] | None:
        """The bytes of one member from an offset on; None when it is compressed and has to be read whole.

        The container's own checksum of the member is left to the caller: see `crc`.
        """
        ...

    def crc(self, index: int, /) -> int | None:
        """The CRC-32 that the container keeps of a member, if it keeps one."""
        ...
