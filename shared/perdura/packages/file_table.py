"""The files of a verified package as a sequence that is built when looked at: digests are kept as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import overload

from perdura.packages.container import Container
from perdura.packages.package import PackageFile


class FileTable(Sequence[PackageFile]):
    """Files in the order of their paths.

    `computed`: algorithm -> member index -> digest; `declared`: the same of each manifest of the algorithm.
    """

    def __init__(
        self,
        container: Container,
        index: Mapping[str, int],
        computed: Mapping[str, Mapping[int, bytes]],
        declared: Mapping[str, Sequence[Mapping[int, bytes]]],
    ) -> None:
        self._container = container
        self._paths = sorted(index)
        self._index = index
        self._computed = computed
        self._declared = declared

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> PackageFile: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[PackageFile]: ...

    def __getitem__(self, place: int | slice) -> PackageFile | Sequence[PackageFile]:
        if isinstance(place, slice):
            return [self._file(path) for path in self._paths[place]]
        return self._file(self._paths[place])

    def read(self, path: str) -> Iterator[memoryview]:
        """The bytes of one file, none where it is not there; cheap for sip.json and files outside the payload."""
        member = self._index.get(path)
        return iter(()) if member is None else self._container.read(member)

    def named(self, wanted: Callable[[str], object]) -> Iterator[tuple[PackageFile, Iterable[memoryview]]]:
        """The files whose path is wanted, with their bytes, in one pass; those of one must be used before the next."""
        members = {self._index[path]: path for path in filter(wanted, self._paths)}
        for task in self._container.tasks(members.__contains__) if members else ():
            for member, chunks in task():
                yield self._file(members[member]), chunks

    def _file(self, path: str) -> PackageFile:
        member = self._index[path]
        return PackageFile(
            path,
            self._container.members[member].size,
            {name: digests[member].hex() for name, digests in self._computed.items() if member in digests},
            {
                name: digests[member].hex()
                for name, tables in self._declared.items()
                for digests in tables
                if member in digests
            },
            self._container.offset(member),
        )
