"""A zip made while it is sent: files stored as they are, its exact length known before the first byte.

Entries are written with zip64 fields and data descriptors (APPNOTE 6.3.10, 4.3.9 and 4.5.3), because the CRC of a
file is known only once it went by. A range is served by making the whole and leaving out what was not asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

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

Chunks = Callable[[int], Iterable[bytes | memoryview]]
"""Gives the bytes of a file from an offset on."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path, its size in bytes, and how to get its bytes (exactly that many in all)."""

    path: str
    size: int
    chunks: Chunks


class Truncated(Exception):
    """A file was not as long as it was said to be: the zip cannot be ended and the connection has to break."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a zip is: the bytes that were made of it, the CRC-32 (little-endian) of each file that is all in it, and
    of what is in it of the next one.
    """

    position: int = 0
    crcs: bytes = b""
    crc: int = 0


START = State()


def length(entries: Sequence[Entry]) -> int:
    """Length of the whole zip in bytes."""
    each = _CENTRAL.size + _CENTRAL_EXTRA.size
    files = sum(_length(entry) + each + len(entry.path.encode()) for entry in entries)
    return files + _END64.size + _LOCATOR.size + _END.size


def _length(entry: Entry) -> int:
    """Bytes of one file with what stands before and after it."""
    return _LOCAL.size + len(entry.path.encode()) + _LOCAL_EXTRA.size + entry.size + _DESCRIPTOR.size


def stream(entries: Sequence[Entry], modified: datetime) -> Iterator[bytes | memoryview]:
    """The zip in chunks, each valid until the next one is asked for.

    Raises Truncated when a file has another size than its entry says.
    """
    return ZipStream(entries, modified).chunks()


class ZipStream:
    """A zip that is made from its beginning, or from where another process put it down.

    The same entries and time give the same bytes, wherever it was put down. Beside 4 bytes a file nothing is kept.
    """

    def __init__(self, entries: Sequence[Entry], modified: datetime, state: State = START) -> None:
        self._entries, self._modified = entries, _dos(modified)
        self._position, self._crcs, self._crc = state.position, bytearray(state.crcs), state.crc

    @property
    def state(self) -> State:
        """How far it is: after everything that `chunks` gave."""
        return State(self._position, bytes(self._crcs), self._crc)

    def chunks(self, room: Callable[[], int] = lambda: GATHERED << 12) -> Iterator[bytes | memoryview]:
        """What is still to be made, in chunks of at most `room()` bytes, each valid until the next one is asked for.

        Raises Truncated when a file has another size than its entry says.
        """
        done = len(self._crcs) // 4
        begun = sum(_length(entry) for entry in islice(self._entries, done))
        for entry in islice(self._entries, done, None):
            yield from self._file(entry, self._position - begun, room)
            begun += _length(entry)
        skipped = self._position - begun
        for part in self._directory(begun):
            yield from self._cut(part[skipped:], room)
            skipped = max(skipped - len(part), 0)

    def _file(self, entry: Entry, there: int, room: Callable[[], int]) -> Iterator[bytes | memoryview]:
        """One file of which so many bytes are made already, with what stands before and after it."""
        name, (time, date) = entry.path.encode(), self._modified
        before = _LOCAL.pack(
            b"PK\x03\x04", _VERSION, _FLAGS, 0, time, date, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), _LOCAL_EXTRA.size
        )
        before += name + _LOCAL_EXTRA.pack(1, 16, 0, 0)
        yield from self._cut(before[there:], room)
        sent = max(there - len(before), 0)
        if sent <= entry.size:
            for chunk in entry.chunks(sent):
                sent += len(chunk)
                yield from self._cut(chunk, room, of_file=True)
            if sent != entry.size:
                raise Truncated(entry.path)
        after = _DESCRIPTOR.pack(b"PK\x07\x08", self._crc, entry.size, entry.size)
        yield from self._cut(after[sent - entry.size :], room)
        self._crcs += self._crc.to_bytes(4, "little")
        self._crc = 0

    def _cut(
        self, chunk: bytes | memoryview, room: Callable[[], int], *, of_file: bool = False
    ) -> Iterator[bytes | memoryview]:
        while len(chunk):
            piece = chunk[: room()]
            chunk = chunk[len(piece) :]
            if of_file:
                self._crc = crc32(piece, self._crc)
            self._position += len(piece)
            yield piece

    def _directory(self, begin: int) -> Iterator[bytes]:
        """The central directory, which begins there, and the end of the zip."""
        time, date = self._modified
        position = size = 0
        gathered = bytearray()
        for number, entry in enumerate(self._entries):
            name, crc = entry.path.encode(), int.from_bytes(self._crcs[4 * number : 4 * number + 4], "little")
            gathered += _CENTRAL.pack(
                b"PK\x01\x02", _UNIX | _VERSION, _VERSION, _FLAGS, 0, time, date, crc, 0xFFFFFFFF, 0xFFFFFFFF,
                len(name), _CENTRAL_EXTRA.size, 0, 0, 0, _MODE, 0xFFFFFFFF,
            )  # fmt: skip
            gathered += name + _CENTRAL_EXTRA.pack(1, 24, entry.size, entry.size, position)
            position += _length(entry)
            if len(gathered) >= GATHERED:
                size += len(gathered)
                yield bytes(gathered)
                gathered.clear()
        size += len(gathered)
        yield bytes(gathered) + _end(len(self._entries), size, begin)


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
