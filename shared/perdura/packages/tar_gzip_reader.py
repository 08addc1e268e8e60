"""Gzipped tar archives: one stream that can only be read front to back, hashed while it is surveyed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from perdura.packages.container import Task
from perdura.packages.gzip_stream import GzipForward
from perdura.packages.names import PlainNames
from perdura.packages.rules import PackageRejected
from perdura.packages.tar_records import TarMember, walk

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.source import ByteSource

_KEPT_FILE, _KEPT_ALL = 8 * 2**20, 32 * 2**20


class TarGzipContainer:
    """A gzipped tar, surveyed in a first pass; small files outside `data/` are kept from it.

    `observe(member)` is asked in that pass for each file; when it gives a function, that gets the file's bytes, so
    that one pass is enough when the digests that are needed were foreseen.
    """

    kind = "tar.gz"
    parallelism = 1
    warnings: Sequence[tuple[str, str | None]] = ()

    def __init__(
        self,
        source: ByteSource,
        limits: Limits,
        observe: Callable[[int, TarMember], Callable[[memoryview], None] | None] = lambda _, __: None,
    ) -> None:
        """Reads the whole stream once; raises PackageRejected."""
        self._source = source
        self._limits = limits
        self._members: list[TarMember] = []
        self._kept: dict[int, bytes] = {}
        room = _KEPT_ALL
        stream, plain = GzipForward(source, limits), PlainNames(limits)
        for member in walk(stream, limits, plain):
            index = len(self._members)
            self._members.append(member)
            keep = (
                bytearray()
                if not member.is_directory and member.size <= min(_KEPT_FILE, room) and _is_tag_file(member.path)
                else None
            )
            take = observe(index, member)
            for chunk in stream.chunks(member.size):
                if keep is not None:
                    keep += chunk
                if take is not None:
                    take(chunk)
            if keep is not None:
                self._kept[index] = bytes(keep)
                room -= len(keep)
        self.has_plain_names = plain.without_exception
        for zeros in stream.chunks(limits.padding + 1):
            if bytes(zeros).strip(b"\0"):
                raise PackageRejected("tar-end", detail="something follows its end")
        if stream.take(1):
            raise PackageRejected("tar-end", detail="too much padding follows its end")

    @property
    def members(self) -> Sequence[TarMember]:
        """All members in order."""
        return self._members

    @property
    def stored_size(self) -> int:
        """Bytes of the archive."""
        return self._source.size

    def offset(self, _index: int, /) -> int | None:
        """Nothing lies there uncompressed."""
        return None

    def tasks(self, wanted: Callable[[int], bool]) -> Iterable[Task]:
        """One task that reads the stream from its beginning, if anything is wanted."""
        last = max((index for index in range(len(self._members)) if wanted(index)), default=None)
        if last is not None:
            yield lambda: self._pass(wanted, last)

    def read(self, index: int) -> Iterator[memoryview]:
        """The bytes of one member: kept from the first pass, or from a new pass."""
        if index in self._kept:
            yield memoryview(self._kept[index])
            return
        for _, chunks in self._pass(lambda candidate: candidate == index, index):
            yield from chunks

    def resume(self, _index: int, _offset: int, /) -> None:
        """One stream: it cannot be entered in the middle."""
        return

    def crc(self, _index: int, /) -> None:
        """Only the stream as a whole has a checksum."""
        return

    def _pass(self, wanted: Callable[[int], bool], last: int) -> Iterator[tuple[int, Iterable[memoryview]]]:
        stream = GzipForward(self._source, self._limits)
        for index, member in enumerate(walk(stream, self._limits, PlainNames(self._limits))):
            if wanted(index) and not member.is_directory:
                yield index, stream.chunks(member.size)
            if index == last:
                return


def _is_tag_file(path: str) -> bool:
    """Whether the file lies outside the payload, or is the SIP's own description of itself."""
    return "/data/" not in f"/{path}"[: f"/{path}".rfind("/") + 1] or path.endswith("data/meta/sip.json")
