"""Members larger than the old fields of tar (8 GiB) and zip (4 GiB) can say, none of whose bytes exist."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate

import pytest

from perdura.packages.limits import LIMITS
from perdura.packages.tar import END, TarWriter, header, padding
from perdura.packages.tar_reader import TarContainer
from perdura.packages.zip import ZipWriter
from perdura.packages.zip_reader import ZipContainer
from perdura.packages.zip_stream import Entry, length, stream
from perdura.storage.digests import crc32

SIZE = 9 * 2**30 + 7
_ZEROS = bytes(2**26)


@dataclass
class Hollow:
    """A source, and a sink, that keeps how many zeros there are instead of keeping them."""

    name: str = "hollow"
    pieces: list[bytes | int] = field(default_factory=list)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(len(data) if len(data) > 2**16 else bytes(data))

    @property
    def size(self) -> int:
        return sum(piece if isinstance(piece, int) else len(piece) for piece in self.pieces)

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(max(min(length, self.size - offset), 0))
        return bytes(data[: self.read_into(offset, memoryview(data))])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        end = min(offset + len(buffer), self.size)
        buffer[: max(end - offset, 0)] = bytes(max(end - offset, 0))
        ends = accumulate(piece if isinstance(piece, int) else len(piece) for piece in self.pieces)
        for piece, stop in zip(self.pieces, ends, strict=True):
            if isinstance(piece, int):
                continue
            start = stop - len(piece)
            low, high = max(start, offset), min(stop, end)
            if low < high:
                buffer[low - offset : high - offset] = piece[low - start : high - start]
        return max(end - offset, 0)

    def stream(self, offset: int, length: int, chunk: int = 1 << 20) -> Iterator[memoryview]:
        while length > 0 and (data := self.read(offset, min(chunk, length))):
            yield memoryview(data)
            offset, length = offset + len(data), length - len(data)


def zeros() -> Iterator[bytes]:
    for start in range(0, SIZE, len(_ZEROS)):
        yield _ZEROS[: min(len(_ZEROS), SIZE - start)]


def told_by(form: int) -> bytes:
    member = tarfile.TarInfo("data/large")
    member.size = SIZE
    return member.tobuf(form)


HEADERS: dict[str, Callable[[], bytes]] = {
    "ours": lambda: header("data/large", SIZE, 0),
    "pax": lambda: told_by(tarfile.PAX_FORMAT),
    "gnu": lambda: told_by(tarfile.GNU_FORMAT),
}


@pytest.mark.parametrize("form", HEADERS)
def test_what_follows_a_large_member_of_a_tar_is_found(form: str) -> None:
    source = Hollow(pieces=[HEADERS[form](), SIZE, padding(SIZE), header("data/next", 5, 0), b"after", padding(5), END])
    container = TarContainer(source, LIMITS)
    assert [(member.path, member.size) for member in container.members] == [("data/large", SIZE), ("data/next", 5)]
    assert b"".join(map(bytes, container.read(1))) == b"after"
    assert b"".join(map(bytes, container.resume(0, SIZE - 3))) == bytes(3)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_what_we_write_that_is_large_we_read(kind: str) -> None:
    sink = Hollow()
    checksum = 0
    for chunk in zeros():
        checksum = crc32(chunk, checksum)
    writer: TarWriter | ZipWriter = TarWriter(sink.write) if kind == "tar" else ZipWriter(sink.write)
    writer.add("data/large", SIZE, zeros(), checksum)
    writer.add("data/next", 5, (b"after",), crc32(b"after", 0))
    assert writer.finish() == sink.size
    container = TarContainer(sink, LIMITS) if kind == "tar" else ZipContainer(sink, LIMITS)
    assert [(member.path, member.size) for member in container.members] == [("data/large", SIZE), ("data/next", 5)]
    assert b"".join(map(bytes, container.read(1))) == b"after"
    rest = container.resume(0, SIZE - 3)
    assert rest is not None
    assert b"".join(map(bytes, rest)) == bytes(3)
    place = container.offset(1)
    assert place is not None
    assert sink.read(place, 5) == b"after"


def test_a_zip_made_on_the_way_that_is_large_is_one_that_we_read() -> None:
    entries = [Entry("data/large", SIZE, lambda _: zeros()), Entry("data/next", 5, lambda _: (b"after",))]
    sink = Hollow()
    for chunk in stream(entries, datetime(2026, 1, 1, tzinfo=UTC)):
        sink.write(chunk)
    assert sink.size == length(entries)
    container = ZipContainer(sink, LIMITS)
    assert [(member.path, member.size) for member in container.members] == [("data/large", SIZE), ("data/next", 5)]
    assert b"".join(map(bytes, container.read(1))) == b"after"
    rest = container.resume(0, SIZE - 3)
    assert rest is not None
    assert b"".join(map(bytes, rest)) == bytes(3)
