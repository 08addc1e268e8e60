"""What lies in a WARC file (ISO 28500:2017): the heads of its records, a bounded number of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MOST_RECORDS = 500
MOST_BYTES = 256 * 2**20
"""Bytes that are unpacked for one listing."""
_LONGEST_HEAD = 64 * 2**10
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """The head of one record: its kind, what it is about, when it was made, and its length in bytes."""

    kind: str
    target: str
    date: str
    size: int
    status: str = ""


def listing(chunks: Iterable[bytes | memoryview], most: int = MOST_RECORDS) -> Iterator[WarcRecord]:
    """The records of a WARC file, plain or gzip record by record; ends quietly where it is no WARC any more."""
    reader = _Reader(_plain(chunks))
    for _ in range(most):
        head = reader.head()
        if head is None or not head.startswith(b"WARC/"):
            return
        fields = _fields(head)
        try:
            size = int(fields.get("content-length", ""))
        except ValueError:
            return
        begin = reader.take(min(size, 4096))
        status = ""
        if fields.get("content-type", "").startswith("application/http") and begin.startswith(b"HTTP/"):
            status = begin.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")[2][:40]
        yield WarcRecord(
            fields.get("warc-type", ""), fields.get("warc-target-uri", ""), fields.get("warc-date", ""), size, status
        )
        if not reader.skip(size - len(begin)) or not reader.skip(4):
            return


def _fields(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n")[1:]:
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), value.strip().strip("<>"))
    return found


def _plain(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """The bytes unpacked: every record of a compressed WARC is a gzip member of its own."""
    unpacker = None
    passed = 0
    first = True
    for raw in chunks:
        chunk = bytes(raw)
        if first:
            unpacker = zlib.decompressobj(31) if chunk.startswith(_GZIP) else None
            first = False
        while chunk:
            if unpacker is None:
                data, chunk = chunk, b""
            else:
                try:
                    data = unpacker.decompress(chunk, 1 << 20)
                except zlib.error:
                    return
                chunk = unpacker.unconsumed_tail
                if unpacker.eof:
                    chunk = unpacker.unused_data
                    unpacker = zlib.decompressobj(31)
            passed += len(data)
            if passed > MOST_BYTES:
                return
            yield data


class _Reader:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def head(self) -> bytes | None:
        """Everything up to the empty line, without it; None when there is none."""
        while b"\r\n\r\n" not in self._rest:
            if len(self._rest) > _LONGEST_HEAD or not self._more():
                return None
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        return head

    def take(self, count: int) -> bytes:
        while len(self._rest) < count and self._more():
            pass
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def skip(self, count: int) -> bool:
        while count > len(self._rest):
            count -= len(self._rest)
            self._rest = b""
            if not self._more():
                return False
        self._rest = self._rest[count:]
        return True

    def _more(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._rest += chunk
        return True
