"""Where a package is read from: bytes by range (an archive) or named objects (an unpacked tree)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class ByteSource(Protocol):
    """One archive file, pinned to one state; the same code reads it from disk and from the object store.

    Every method is safe to call from several threads and raises ObjectChanged, NotStored or StoreUnavailable.
    """

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

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset on; gives the number of bytes (fewer only at the end)."""
        ...

    def stream(self, offset: int, length: int, chunk: int = 1 << 20) -> Iterator[memoryview]:
        """These bytes in chunks, each valid until the next is asked for."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    """One file of a tree: path relative to its root, size in bytes.

    A path that ends in `/` marks a directory that holds nothing (an empty directory, or a key of that name).
    """

    path: str
    size: int


@runtime_checkable
class TreeSource(Protocol):
    """An unpacked package: a directory on disk, or all objects below a prefix, pinned when listed.

    `stream` and `read_into` take paths that `leaves` gave; they are safe to call from several threads.
    """

    @property
    def name(self) -> str:
        """Name of the root, for messages."""
        ...

    @property
    def container(self) -> str:
        """`directory` or `prefix`."""
        ...

    def leaves(self) -> Iterator[Leaf]:
        """All files by path."""
        ...

    def read_into(self, path: str, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset of one file on; gives the number of bytes (fewer only at the end)."""
        ...

    def stream(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
        """Bytes of one file in chunks, each valid until the next is asked for."""
        ...
