"""The accepted SIP as preserve reads it: its few tag files by name, then every file once in the order it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perdura.outcome import Package
from perdura.packages.container import Container
from perdura.packages.findings import Findings
from perdura.packages.layout import Layout, find_bag
from perdura.packages.limits import Limits
from perdura.packages.opening import open_container
from perdura.packages.package import PackageFile
from perdura.packages.reader import BagReader
from perdura.steps.stored_package import source_of
from perdura.storage.store import Store


@dataclass(frozen=True, slots=True)
class Submission:
    """An open SIP."""

    container: Container
    layout: Layout
    limits: Limits

    def read(self, path: str) -> Iterator[memoryview]:
        """The bytes of one file; cheap for files outside the payload, whatever the container."""
        return self.container.read(self.layout.index[path])

    def files(self) -> Iterator[tuple[PackageFile, Iterator[memoryview]]]:
        """Every file with its bytes, as `PackageReader.files`."""
        return BagReader(self.container, self.layout).files()


def open_submission(store: Store, sip: Package, limits: Limits) -> Submission:
    """Open the package where it lies, within the limits it was accepted by; raises Rejected when it is not sound."""
    container = open_container(source_of(sip, store), limits)
    return Submission(container, find_bag(container, Findings(limits), limits), limits)
