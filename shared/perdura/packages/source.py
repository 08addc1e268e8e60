"""Where a package is read from: bytes by range (an archive) or named objects (an unpacked tree)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class ByteSource(Protocol):
    """One archive file, pinned to one state; the same code reads it from disk and from the object store."""

    @property
    def name(self) -> str:
        """File name, for messages."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes (fewer only at the end); for small ranges."""
        ...

    def stream(self, offset: int, length: int, chunk: int = 1 << 20) -> Iterator[memoryview]:
        """These bytes in chunks, each valid until the next is asked for; safe to call from several threads."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """One file of a tree: path relative to its root, size in bytes."""

    path: str
    size: int


class TreeSource(Protocol):
    """An unpacked package: a directory on disk, or all objects below a prefix, pinned when listed."""

    @property
    def name(self) -> str:
        """Name of the root, for messages."""
        ...

    def leaves(self) -> Iterator[Leaf]:
        """All files by path."""
        ...

    def stream(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
        """Bytes of one file in chunks."""
        ...
