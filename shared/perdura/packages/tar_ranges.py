"""A tar of known members any range of which can be made: for uploads in parts that may be sent again."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from perdura.errors import ObjectChanged
from perdura.packages.tar import BLOCK, END, RECORD, header

Chunk = bytes | bytearray | memoryview
Body = Callable[[int, int], Iterable[Chunk]]
"""Gives the bytes of a file from an offset on, so many of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One member to be: path, size in bytes, and its bytes; a directory's path ends in `/`."""

    path: str
    size: int
    body: bytes | Body


class RangedTar:
    """The archive that `TarWriter` writes of these members, its bytes made when they are asked for."""

    def __init__(self, entries: Iterable[Entry], mtime: int = 0) -> None:
        """`mtime` in Unix seconds, for all members."""
        self._pieces: list[tuple[int, str, bytes | Body]] = []
        self._starts: list[int] = []
        self.size = 0
        for entry in entries:
            directory = entry.path.endswith("/")
            self._lay(entry.path, header(entry.path, entry.size, mtime, directory=directory))
            if entry.size:
                self._lay(entry.path, entry.body, entry.size)
            self._lay(entry.path, bytes(-entry.size % BLOCK))
        self._lay("", END)
        self._lay("", bytes(-self.size % RECORD))

    def _lay(self, path: str, content: bytes | Body, size: int | None = None) -> None:
        length = len(content) if isinstance(content, bytes) else (size or 0)
        if length:
            self._starts.append(self.size)
            self._pieces.append((length, path, content))
            self.size += length

    def read(self, offset: int, length: int) -> Iterator[Chunk]:
        """These bytes of the archive in chunks, fewer only at its end.

        Raises ObjectChanged when a file no longer has the size it had when the archive was laid out.
        """
        end = min(offset + length, self.size)
        place = bisect_right(self._starts, offset) - 1
        while offset < end:
            size, path, content = self._pieces[place]
            inside = offset - self._starts[place]
            wanted = min(size - inside, end - offset)
            if isinstance(content, bytes):
                yield content[inside : inside + wanted]
            else:
                yield from _exactly(path, content, inside, wanted, last=inside + wanted == size)
            offset += wanted
            place += 1


def _exactly(path: str, body: Body, offset: int, length: int, *, last: bool) -> Iterator[Chunk]:
    """The bytes wanted; one more is asked for at the end of a file, so that one that has grown is noticed."""
    left = length
    for chunk in body(offset, length + last):
        if len(chunk) > left:
            break
        left -= len(chunk)
        yield chunk
    else:
        if left == 0:
            return
    raise ObjectChanged(f"{path!r} changed while it was being sent")
