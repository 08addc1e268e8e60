"""Unpacked packages: directories on disk and prefixes of keys, read by many threads (packages.md P1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from perdura.errors import ObjectChanged
from perdura.packages.container import Task
from perdura.packages.names import PathRoom, PlainNames, member_path
from perdura.packages.rules import PackageRejected
from perdura.packages.tar_records import TarMember

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.source import TreeSource

_BATCH_FILES, _BATCH_BYTES = 64, 4 * 2**20
_WHOLE = 2**20
_PREFIX_CONNECTIONS = 16


class TreeContainer:
    """All files below a directory or a prefix."""

    warnings: Sequence[tuple[str, str | None]] = ()

    def __init__(self, source: TreeSource, limits: Limits) -> None:
        """Lists everything once; raises PackageRejected."""
        self._source = source
        self._names: dict[int, str] = {}
        self.kind = source.container
        self.parallelism = _PREFIX_CONNECTIONS if source.container == "prefix" else None
        self._members: list[TarMember] = []
        plain, room = PlainNames(limits), PathRoom(limits)
        for leaf in source.leaves():
            if len(self._members) >= limits.members:
                raise PackageRejected("limit-members", detail=f"{limits.members} are accepted")
            path, is_directory = _tree_path(leaf.path, limits, plain)
            if is_directory and leaf.size:
                raise PackageRejected("directory-with-data", leaf.path)
            room.take((path,))
            self._members.append(TarMember(path, leaf.size, is_directory, 0))
        self.has_plain_names = plain.without_exception
        if not self._members:
            raise PackageRejected("container-empty")

    @property
    def members(self) -> Sequence[TarMember]:
        """All files and empty directories."""
        return self._members

    @property
    def stored_size(self) -> int:
        """Bytes of all files."""
        return sum(member.size for member in self._members)

    def offset(self, _index: int, /) -> int | None:
        """Files are objects of their own: nothing to say."""
        return None

    def tasks(self, wanted: Callable[[int], bool]) -> Iterable[Task]:
        """Batches of small files, large files one by one."""
        batch: list[int] = []
        size = 0
        for index, member in enumerate(self._members):
            if member.is_directory or not wanted(index):
                continue
            if member.size > _WHOLE:
                yield self._batch([index])
                continue
            if batch and (len(batch) >= _BATCH_FILES or size + member.size > _BATCH_BYTES):
                yield self._batch(batch)
                batch, size = [], 0
            batch.append(index)
            size += member.size
        if batch:
            yield self._batch(batch)

    def read(self, index: int) -> Iterator[memoryview]:
        """The bytes of one file; raises ObjectChanged when it is not as long as it was listed."""
        member = self._members[index]
        size = 0
        for chunk in self._source.stream(member.path):
            size += len(chunk)
            yield chunk
        if size != member.size:
            raise ObjectChanged("a file was changed while it was being read")

    def resume(self, index: int, offset: int) -> Iterator[memoryview]:
        """The bytes of one file from an offset on."""
        return self._source.stream(self._members[index].path, offset)

    def crc(self, _index: int, /) -> None:
        """Nothing keeps a checksum here."""
        return

    def _batch(self, batch: list[int]) -> Task:
        def read() -> Iterator[tuple[int, Iterable[memoryview]]]:
            largest = max(self._members[index].size for index in batch)
            buffer = memoryview(bytearray(min(largest, _WHOLE) + 1))
            for index in batch:
                member = self._members[index]
                if member.size > _WHOLE:
                    yield index, self.read(index)
                    continue
                # One byte more than listed is asked for, so that a file that has grown is noticed.
                got = self._source.read_into(member.path, 0, buffer[: member.size + 1])
                if got != member.size:
                    raise ObjectChanged("a file was changed while it was being read")
                yield index, (buffer[:got],)

        return read


def _tree_path(raw: str, limits: Limits, plain: PlainNames) -> tuple[str, bool]:
    """As `member_path`; a tree has no `./` to strip: a component `.` in a key is refused like any other."""
    if raw.startswith("./") or raw == ".":
        raise PackageRejected("name-unsafe", raw, "a component '.'")
    found = member_path(raw, limits, plain)
    if found is None:
        raise PackageRejected("name-unsafe", raw, "an empty path")
    return found
