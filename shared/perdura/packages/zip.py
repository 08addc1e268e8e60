"""Writes zip archives as streams: members stored, sizes known beforehand, deterministic bytes (packages.md 6).

No data descriptors, zip64 only where a value needs it, the UTF-8 flag where a name does: every reader, those that read
front to back too, can open the result (APPNOTE 4.3, 4.4).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import UTC, datetime

from perdura.errors import Broken
from perdura.packages.tar import Placed, Sink
from perdura.storage.digests import crc32 as update_crc32

_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_UTF8_FLAG = 0x800
_PLAIN, _ZIP64 = 20, 45
_MADE_BY_UNIX = 3 << 8
_ATTRIBUTES = 0o100644 << 16
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)


class ZipWriter:
    """Streams stored members to `write` (such as `Writer.write`); `mtime` in Unix seconds, 1980 at the earliest.

    The central directory is kept until `finish`: some 100 bytes per member.
    """

    def __init__(self, write: Sink, mtime: int = 0) -> None:
        self._write = write
        self._time = _dos_time(mtime)
        self._central = bytearray()
        self._members = 0
        self.position = 0

    def add(
        self, path: str, size: int, chunks: Iterable[bytes | bytearray | memoryview], crc32: int | None = None
    ) -> Placed:
        """Write a file of exactly `size` bytes with that CRC-32; raises Broken when the chunks are not that.

        Without `crc32` the chunks are read twice: they must be a sequence then.
        """
        if crc32 is None:
            crc32 = 0
            for chunk in chunks:
                crc32 = update_crc32(chunk, crc32)
        name = path.encode()
        if not name or b"\0" in name or len(name) > _MAX16:
            raise Broken("a zip member needs a name without NUL", code="name-unsafe")
        start = self.position
        self._emit(self._local_header(name, size, crc32))
        placed = Placed(path, self.position, size)
        seen = written = 0
        for chunk in chunks:
            seen = update_crc32(chunk, seen)
            written += len(chunk)
            if written > size:
                break
            self._emit(chunk)
        if (written, seen) != (size, crc32):
            raise Broken(f"{path!r} has another size or CRC-32 than was announced", code="size-mismatch")
        self._central += self._central_header(name, size, crc32, start)
        self._members += 1
        return placed

    def finish(self) -> int:
        """Write the central directory and the end records; gives the size of the archive."""
        start, size = self.position, len(self._central)
        self._emit(self._central)
        if self._members >= _MAX16 or size >= _MAX32 or start >= _MAX32:
            record = self.position
            self._emit(
                struct.pack(
                    "<IQHHIIQQQQ", 0x06064B50, 44, _MADE_BY_UNIX | _ZIP64, _ZIP64, 0, 0,
                    self._members, self._members, size, start,
                )
            )  # fmt: skip
            self._emit(struct.pack("<IIQI", 0x07064B50, 0, record, 1))
        count = min(self._members, _MAX16)
        self._emit(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, min(size, _MAX32), min(start, _MAX32), 0))
        return self.position

    def _local_header(self, name: bytes, size: int, crc: int) -> bytes:
        extra = b""
        needed, shown = _PLAIN, size
        if size >= _MAX32:
            needed, shown = _ZIP64, _MAX32
            extra = struct.pack("<HHQQ", 1, 16, size, size)
        return (
            struct.pack(
                "<IHHHIIIIHH", 0x04034B50, needed, _flags(name), 0, self._time, crc, shown, shown, len(name), len(extra)
            )
            + name
            + extra
        )

    def _central_header(self, name: bytes, size: int, crc: int, start: int) -> bytes:
        values = [size, size] if size >= _MAX32 else []
        if start >= _MAX32:
            values.append(start)
        extra = struct.pack(f"<HH{len(values)}Q", 1, 8 * len(values), *values) if values else b""
        needed = _ZIP64 if values else _PLAIN
        shown = min(size, _MAX32)
        return (
            struct.pack(
                "<IHHHHIIIIHHHHHII", 0x02014B50, _MADE_BY_UNIX | needed, needed, _flags(name), 0, self._time, crc,
                shown, shown, len(name), len(extra), 0, 0, 0, _ATTRIBUTES, min(start, _MAX32),
            )
            + name
            + extra
        )  # fmt: skip

    def _emit(self, data: bytes | bytearray | memoryview) -> None:
        if len(data):
            self._write(data)
            self.position += len(data)


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8_FLAG


def _dos_time(mtime: int) -> int:
    """Date and time of MS-DOS: date in the upper half, two-second steps."""
    at = max(datetime.fromtimestamp(mtime, UTC), _EARLIEST)
    day = (min(at.year, 2107) - 1980) << 9 | at.month << 5 | at.day
    return day << 16 | at.hour << 11 | at.minute << 5 | at.second // 2
