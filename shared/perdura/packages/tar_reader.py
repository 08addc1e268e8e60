"""Tar archives read by their headers: a walk in windows that jumps over large bodies, then ranges on threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from perdura.packages.container import SPAN, Task
from perdura.packages.names import PlainNames
from perdura.packages.prefetch import prefetched
from perdura.packages.rules import PackageRejected
from perdura.packages.tar_records import TarMember, walk
from perdura.packages.window import WHOLE, Window

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.source import ByteSource

_WINDOW = 2**20


class Windowed:
    """`Forward` over a source that can be read anywhere; skipping past the window costs nothing."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._buffer = bytearray(min(_WINDOW, source.size))
        self._start = self._filled = 0
        self.position = 0

    def take(self, length: int) -> bytes:
        """The next bytes, fewer only at the end."""
        if not self._start <= self.position <= self.position + length <= self._start + self._filled:
            if length > len(self._buffer):
                data = self._source.read(self.position, length)
                self.position += len(data)
                return data
            self._start = self.position
            self._filled = self._source.read_into(self._start, memoryview(self._buffer))
        at = self.position - self._start
        data = bytes(self._buffer[at : min(at + length, self._filled)])
        self.position += len(data)
        return data

    def skip(self, length: int) -> None:
        """Pass over bytes; raises PackageRejected when there are not so many."""
        if self.position + length > self._source.size:
            raise PackageRejected("tar-truncated")
        self.position += length


class TarContainer:
    """An uncompressed tar whose headers are sound to the end."""

    kind = "tar"
    parallelism = None
    warnings: Sequence[tuple[str, str | None]] = ()

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        """Walks all headers; raises PackageRejected."""
        self._source = source
        stream, plain = Windowed(source), PlainNames(limits)
        self._members: list[TarMember] = []
        for member in walk(stream, limits, plain):
            if member.start + member.size > source.size:
                raise PackageRejected("tar-truncated", member.path)
            self._members.append(member)
        self.has_plain_names = plain.without_exception
        padding = source.size - stream.position
        if padding > limits.padding or source.read(stream.position, padding).strip(b"\0"):
            raise PackageRejected("tar-end", detail="something follows its end")

    @classmethod
    def surveyed(cls, source: ByteSource, members: Sequence[TarMember], plain: bool) -> TarContainer:
        """A container whose headers were walked before: its members, and whether all their names were plain."""
        container = cls.__new__(cls)
        container._source = source
        container._members = list(members)
        container.has_plain_names = plain
        return container

    @property
    def members(self) -> Sequence[TarMember]:
        """All members in order."""
        return self._members

    @property
    def stored_size(self) -> int:
        """Bytes of the archive."""
        return self._source.size

    def offset(self, index: int) -> int | None:
        """Where the member's body begins."""
        return self._members[index].start

    def tasks(self, wanted: Callable[[int], bool]) -> Iterable[Task]:
        """Runs of neighbouring members up to SPAN bytes; a longer member is a run of its own."""
        run: list[int] = []
        for index, member in enumerate(self._members):
            if member.is_directory or not wanted(index):
                continue
            if run and member.start + member.size - self._members[run[0]].start > SPAN:
                yield self._run(run)
                run = []
            run.append(index)
        if run:
            yield self._run(run)

    def read(self, index: int) -> Iterator[memoryview]:
        """The bytes of one member."""
        member = self._members[index]
        return prefetched(self._source, member.start, member.size)

    def resume(self, index: int, offset: int) -> Iterator[memoryview]:
        """The bytes of one member from an offset on."""
        member = self._members[index]
        return prefetched(self._source, member.start + offset, member.size - offset)

    def crc(self, _index: int, /) -> None:
        """A tar keeps no checksum of its members."""
        return

    def _run(self, run: list[int]) -> Task:
        def read() -> Iterator[tuple[int, Iterable[memoryview]]]:
            first, last = self._members[run[0]], self._members[run[-1]]
            window = Window(self._source, first.start, last.start + last.size)
            position = first.start
            for index in run:
                member = self._members[index]
                window.skip(member.start - position)
                position = member.start + member.size
                if member.size > WHOLE:
                    yield index, window.pieces(member.size)
                else:
                    yield index, (window.take(member.size),)

        return read
