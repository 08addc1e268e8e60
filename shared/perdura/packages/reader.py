"""Sequential access to the files of a package, for whoever repacks or serves them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perdura.packages.container import Container
from perdura.packages.findings import Findings
from perdura.packages.layout import Layout, find_bag
from perdura.packages.limits import LIMITS, Limits
from perdura.packages.opening import open_container
from perdura.packages.package import PackageFile, PackageReader
from perdura.packages.source import ByteSource, TreeSource


class BagReader:
    """`PackageReader` over any container."""

    def __init__(self, container: Container, layout: Layout) -> None:
        self._container = container
        self._layout = layout

    @property
    def container(self) -> str:
        """zip, tar, tar.gz, directory or prefix."""
        return self._container.kind

    def files(self) -> Iterator[tuple[PackageFile, Iterator[memoryview]]]:
        """Every file of the bag with its bytes, in the order in which they lie.

        The bytes of one file must be used before the next is asked for; a file left unread is passed over.
        Container rules are checked on the bytes that are read; raises PackageRejected.
        """
        paths = {member: path for path, member in self._layout.index.items()}
        for task in self._container.tasks(paths.__contains__):
            for index, chunks in task():
                if index not in paths:
                    continue
                size = self._container.members[index].size
                rest = iter(chunks)
                yield PackageFile(paths[index], size, offset=self._container.offset(index)), rest
                _use_up(rest)


def _use_up(chunks: Iterable[memoryview]) -> None:
    for _ in chunks:
        pass


def open_package(source: ByteSource | TreeSource, limits: Limits = LIMITS) -> PackageReader:
    """Open a package that has been verified before; raises PackageRejected when the container is hostile."""
    container = open_container(source, limits)
    return BagReader(container, find_bag(container, Findings(limits), limits))
