"""A gzip stream (RFC 1952) inflated front to back, every member's CRC and length checked (packages.md G1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from perdura.packages.inflate import INFLATE_ERRORS, new_inflater
from perdura.packages.prefetch import prefetched
from perdura.packages.rules import PackageRejected
from perdura.storage.digests import crc32

if TYPE_CHECKING:
    from perdura.packages.limits import Limits
    from perdura.packages.source import ByteSource

_OUT = 2**20
_IN, _FIRST_IN = 2**17, 2**12
"""Input at once, and at the beginning of a member: what an inflater leaves over is copied, and members may be small."""
_NAME_PIECE = 2**8
_HEADER_CRC, _EXTRA, _NAME, _COMMENT = 0x02, 0x04, 0x08, 0x10


class GzipForward:
    """`Forward` over the uncompressed bytes of a gzip stream; memory is one piece of input and one of output."""

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        self._size = source.size
        self._limits = limits
        self._pieces = self._inflate(_Input(source))
        self._piece = memoryview(b"")
        self.position = 0

    def take(self, length: int) -> bytes:
        """The next bytes, fewer only at the end."""
        parts = [bytes(part) for part in self.chunks(length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def skip(self, length: int) -> None:
        """Pass over bytes; raises PackageRejected when there are not so many."""
        for part in self.chunks(length):
            length -= len(part)
        if length > 0:
            raise PackageRejected("tar-truncated")

    def chunks(self, length: int) -> Iterator[memoryview]:
        """The next bytes in pieces, each valid until the next is asked for; fewer only at the end."""
        while length > 0:
            if not len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    return
                self._piece = piece
            part = self._piece[:length]
            self._piece = self._piece[len(part) :]
            self.position += len(part)
            length -= len(part)
            yield part

    def _inflate(self, given: _Input) -> Iterator[memoryview]:
        total = members = 0
        while True:
            members += 1
            if members > self._limits.gzip_members:
                raise PackageRejected("limit-gzip-members", detail=f"{self._limits.gzip_members} are accepted")
            _skip_header(given, self._limits.gzip_header)
            inflater: Any = new_inflater()
            crc = size = 0
            data: Any = b""
            room = _FIRST_IN
            while not inflater.eof:
                if not data:
                    data = given.some(room)
                    room = min(4 * room, _IN)
                    if not len(data):
                        raise PackageRejected("gzip-damaged", detail="it is cut off")
                try:
                    out = inflater.decompress(data, _OUT)
                except INFLATE_ERRORS as error:
                    raise PackageRejected("gzip-damaged") from error
                data = inflater.unconsumed_tail
                crc = crc32(out, crc)
                size += len(out)
                total += len(out)
                self._check_limits(total)
                if out:
                    yield memoryview(out)
                elif not data and not inflater.eof:
                    continue
            given.give_back(len(inflater.unused_data))
            trailer = given.exactly(8)
            if int.from_bytes(trailer[:4], "little") != crc:
                raise PackageRejected("gzip-damaged", detail="its CRC-32 is another")
            if int.from_bytes(trailer[4:], "little") != size & 0xFFFFFFFF:
                raise PackageRejected("gzip-damaged", detail="its length is another")
            if self._at_end(given):
                return

    def _check_limits(self, total: int) -> None:
        limits = self._limits
        if total > limits.gzip_package_size:
            raise PackageRejected("limit-gzip-size", detail=f"{limits.gzip_package_size} bytes are accepted")
        if total > limits.ratio_free and total > limits.ratio * self._size:
            raise PackageRejected("limit-ratio", detail=f"more than {limits.ratio} : 1")

    def _at_end(self, given: _Input) -> bool:
        """Whether nothing but some zero padding is left; another gzip member goes on (C4, G1)."""
        zeros = 0
        while True:
            data = given.some(_FIRST_IN)
            if not len(data):
                return True
            if not zeros and data[0] == 0x1F:
                given.give_back(len(data))
                return False
            zeros += len(data)
            if zeros > self._limits.padding or bytes(data).strip(b"\0"):
                raise PackageRejected("container-extra-bytes", detail="after the gzip stream")


class _Input:
    """Compressed bytes, given in pieces of which the end can be given back. Nothing is copied."""

    def __init__(self, source: ByteSource) -> None:
        self._chunks = prefetched(source, 0, source.size)
        self._chunk = memoryview(b"")
        self._at = 0

    def some(self, most: int) -> memoryview:
        """At most so many bytes, valid until more is asked for; none at the end."""
        if self._at == len(self._chunk):
            self._chunk, self._at = next(self._chunks, memoryview(b"")), 0
        piece = self._chunk[self._at : self._at + most]
        self._at += len(piece)
        return piece

    def exactly(self, length: int) -> bytes:
        """So many bytes; raises PackageRejected at the end."""
        data = bytes(self.some(length))
        while len(data) < length:
            part = self.some(length - len(data))
            if not len(part):
                raise PackageRejected("gzip-damaged", detail="it is cut off")
            data += part
        return data

    def text(self, limit: int) -> int:
        """Pass over a text that a zero byte ends, for at most about `limit` bytes; gives how many they were."""
        used = 0
        while used <= limit:
            piece = bytes(self.some(_NAME_PIECE))
            if not piece:
                raise PackageRejected("gzip-damaged", detail="it is cut off")
            length = piece.find(b"\0") + 1
            if length:
                self.give_back(len(piece) - length)
                return used + length
            used += len(piece)
        return used

    def give_back(self, count: int) -> None:
        """Take back so many of the bytes that were given last."""
        self._at -= count


def _skip_header(given: _Input, limit: int) -> None:
    head = given.exactly(10)
    if head[:3] != b"\x1f\x8b\x08" or head[3] & 0xE0:
        raise PackageRejected("gzip-header")
    flags, used = head[3], 10
    if flags & _EXTRA:
        length = int.from_bytes(given.exactly(2), "little")
        given.exactly(length)
        used += length + 2
    for flag in (_NAME, _COMMENT):
        if flags & flag and used <= limit:
            used += given.text(limit)
    if flags & _HEADER_CRC:
        given.exactly(2)
    if used > limit:
        raise PackageRejected("gzip-header", detail=f"{limit} bytes are accepted")
