"""Finds out by content what a source holds and opens the reader for it (packages.md C1, G2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perdura.packages.container import Container
from perdura.packages.rules import PackageRejected
from perdura.packages.source import ByteSource, TreeSource
from perdura.packages.tar_gzip_reader import TarGzipContainer
from perdura.packages.tar_reader import TarContainer
from perdura.packages.tar_records import TarMember, is_header
from perdura.packages.tree_reader import TreeContainer
from perdura.packages.zip_reader import ZipContainer

if TYPE_CHECKING:
    from perdura.packages.limits import Limits

Observer = Callable[[int, TarMember], Callable[[memoryview], None] | None]

_COMPRESSIONS = (
    b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x1f\x9d", b"LZIP",
)  # fmt: skip
_SUFFIXES = {"zip": (".zip",), "tar.gz": (".tar.gz", ".tgz"), "tar": (".tar",)}


def recognise(source: ByteSource) -> str:
    """zip, tar or tar.gz, by the first bytes; raises PackageRejected for anything else."""
    head = source.read(0, 512)
    if not head:
        raise PackageRejected("container-empty", detail="no bytes at all")
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if head[:2] == b"\x1f\x8b":
        return "tar.gz"
    if is_header(head):
        return "tar"
    if head.startswith(_COMPRESSIONS):
        raise PackageRejected("container-compression")
    raise PackageRejected("container-unknown")


def name_agrees(name: str, kind: str) -> bool:
    """Whether the file's name announces no other kind of archive than it is."""
    lowered = name.lower()
    if lowered.endswith(_SUFFIXES[kind]):
        return True
    return not any(lowered.endswith(suffixes) for suffixes in _SUFFIXES.values())


def _watch_nothing(_: int, __: TarMember) -> None:
    return None


def open_container(source: ByteSource | TreeSource, limits: Limits, observe: Observer = _watch_nothing) -> Container:
    """The container, found structurally sound; `observe` sees the files of a tar.gz while it is surveyed.

    Raises PackageRejected for the package's faults and Retryable errors for the source's.
    """
    if isinstance(source, TreeSource):
        return TreeContainer(source, limits)
    kind = recognise(source)
    if kind == "zip":
        return ZipContainer(source, limits)
    if kind == "tar":
        return TarContainer(source, limits)
    return TarGzipContainer(source, limits, observe)
