"""A zip made while it is sent: files stored as they are, its exact length known before the first byte.

Entries are written with zip64 fields and data descriptors (APPNOTE 6.3.10, 4.3.9 and 4.5.3), because the CRC of a
file is known only once it went by. A range is served by making the whole and leaving out what was not asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from perdura.storage.digests import crc32

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_DESCRIPTOR = struct.Struct("<4sLQQ")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_CENTRAL_EXTRA = struct.Struct("<HHQQQ")
_LOCAL_EXTRA = struct.Struct("<HHQQ")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR = struct.Struct("<4sLQL")
_END = struct.Struct("<4sHHHHLLH")
_VERSION = 45
_FLAGS = 0x0808
"""UTF-8 names, and sizes in a data descriptor."""
_UNIX = 3 << 8
_MODE = 0o100644 << 16

GATHERED = 256 << 10

Chunks = Callable[[], Iterable[bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path, its size in bytes, and how to get its bytes (exactly that many)."""

    path: str
    size: int
    chunks: Chunks


class Truncated(Exception):
    """A file was not as long as it was said to be: the zip cannot be ended and the connection has to break."""


def length(entries: Sequence[Entry]) -> int:
    """Length of the whole zip in bytes."""
    names = sum(len(entry.path.encode()) for entry in entries)
    each = _LOCAL.size + _LOCAL_EXTRA.size + _DESCRIPTOR.size + _CENTRAL.size + _CENTRAL_EXTRA.size
    payload = sum(entry.size for entry in entries)
    return payload + 2 * names + each * len(entries) + _END64.size + _LOCATOR.size + _END.size


def stream(entries: Sequence[Entry], modified: datetime) -> Iterator[bytes | memoryview]:
    """The zip in chunks, each valid until the next one is asked for.

    Raises Truncated when a file has another size than its entry says.
    """
    time, date = _dos(modified)
    central: list[bytes] = []
    position = 0
    for entry in entries:
        name = entry.path.encode()
        local = _LOCAL.pack(
            b"PK\x03\x04", _VERSION, _FLAGS, 0, time, date, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), _LOCAL_EXTRA.size
        )
        yield local + name + _LOCAL_EXTRA.pack(1, 16, 0, 0)
        crc, sent = 0, 0
        for chunk in entry.chunks():
            crc = crc32(chunk, crc)
            sent += len(chunk)
            yield chunk
        if sent != entry.size:
            raise Truncated(entry.path)
        yield _DESCRIPTOR.pack(b"PK\x07\x08", crc, sent, sent)
        central.append(
            _CENTRAL.pack(
                b"PK\x01\x02", _UNIX | _VERSION, _VERSION, _FLAGS, 0, time, date, crc, 0xFFFFFFFF, 0xFFFFFFFF,
                len(name), _CENTRAL_EXTRA.size, 0, 0, 0, _MODE, 0xFFFFFFFF,
            )
            + name
            + _CENTRAL_EXTRA.pack(1, 24, sent, sent, position)
        )  # fmt: skip
        position += _LOCAL.size + len(name) + _LOCAL_EXTRA.size + sent + _DESCRIPTOR.size
    directory = b"".join(central)
    yield directory
    yield _end(len(entries), len(directory), position)


def _end(count: int, size: int, position: int) -> bytes:
    few = min(count, 0xFFFF)
    return (
        _END64.pack(b"PK\x06\x06", _END64.size - 12, _UNIX | _VERSION, _VERSION, 0, 0, count, count, size, position)
        + _LOCATOR.pack(b"PK\x06\x07", 0, position + size, 1)
        + _END.pack(b"PK\x05\x06", 0, 0, few, few, min(size, 0xFFFFFFFF), 0xFFFFFFFF, 0)
    )


def window(chunks: Iterable[bytes | memoryview], start: int, stop: int) -> Iterator[bytes]:
    """Bytes `start` to `stop` (excluded) of a stream, in pieces of about GATHERED bytes: each is one write."""
    position = 0
    gathered = bytearray()
    for chunk in chunks:
        begin, end = max(start - position, 0), min(stop - position, len(chunk))
        if begin < end:
            gathered += chunk[begin:end]
        if len(gathered) >= GATHERED:
            yield bytes(gathered)
            gathered.clear()
        position += len(chunk)
        if position >= stop:
            break
    if gathered:
        yield bytes(gathered)


def _dos(moment: datetime) -> tuple[int, int]:
    """Time and date as MS-DOS counts them: two-second steps from 1980 on."""
    year = min(max(moment.year, 1980), 2107)
    return (
        moment.hour << 11 | moment.minute << 5 | moment.second // 2,
        (year - 1980) << 9 | moment.month << 5 | moment.day,
    )
