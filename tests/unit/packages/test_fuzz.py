"""Fuzzing of the zip, tar and gzip readers: every archive of the corpus, mangled, for as long as there is time.

`PERDURA_FUZZ_SECONDS` sets how long (10 for each kind, so that CI stays bounded), `PERDURA_FUZZ_SEED` which run is
repeated; a failure names both the seed and the bytes.
"""

from __future__ import annotations

import os
import random
import struct
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from perdura.packages.limits import Limits
from perdura.packages.verify import verify
from tests.corpus.cases import ARCHIVES, BAGS
from tests.corpus.tree import as_archive

SECONDS = float(os.environ.get("PERDURA_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("PERDURA_FUZZ_SEED", "20261128"))
SLOWEST = 5.0
"""Seconds that no small archive may take."""
MEMORY = 128 * 2**20
"""Bytes at most: the buffers of two processors, and nothing in proportion to what an archive says of itself."""
LIMITS = Limits(package_size=2**20, members=500, tar_metadata=2**14, zip_directory=2**20, ratio_free=2**16)
_CHUNK = 1000
"""Bytes in one chunk, which is overwritten before the next: whoever kept it finds nothing."""
_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_MARKS = {
    "zip": (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x07\x08", b"\x01\x00"),
    "tar": (b"ustar\x0000", b"ustar  \0", b"x", b"g", b"L", b"K", b"S", b"1", b"5", b"path=../../x\n", b"\x80" * 8),
    "tar.gz": (b"\x1f\x8b\x08", b"\x1f\x8b\x08\x1f", b"\x00\x00\xff\xff", b"\x03\x00"),
}


class Fenced:
    """A source that nobody may read outside of; it counts what is read."""

    def __init__(self, data: bytes, name: str) -> None:
        self._data, self.name, self.size, self.read_bytes = data, name, len(data), 0

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0, "read before the beginning"
        found = self._data[offset : offset + max(length, 0)]
        self.read_bytes += len(found)
        return found

    def read_into(self, offset: int, buffer: memoryview) -> int:
        found = self.read(offset, len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def stream(self, offset: int, length: int, chunk: int = 1 << 20) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(min(chunk, max(length, 0), _CHUNK)))
        end = offset + length
        while offset < end and (got := self.read_into(offset, buffer[: end - offset])):
            yield buffer[:got]
            offset += got
            buffer[:] = bytes(len(buffer))


def seeds(kind: str) -> list[bytes]:
    """Archives of one kind: sound ones, and all those of the corpus that break a rule."""
    sound = [as_archive(case.files, kind, case.base) for case in BAGS[:12]]
    if kind == "zip":
        sound += [as_archive(case.files, "deflated", case.base) for case in BAGS[:4]]
    begins = {"zip": (b"PK",), "tar.gz": (b"\x1f\x8b",), "tar": ()}[kind]
    broken = [case.data() for case in ARCHIVES]
    if begins:
        return sound + [data for data in broken if data.startswith(begins) and len(data) < 2**16]
    return sound + [data for data in broken if not data.startswith((b"PK", b"\x1f\x8b")) and 512 <= len(data) < 2**16]


def mangled(data: bytes, others: list[bytes], chance: random.Random, marks: tuple[bytes, ...]) -> bytes:
    """The archive after one to six changes of the kinds that break readers."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(7):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 1:
                number = chance.choice(_NUMBERS)
                width = chance.choice("HIQ")
                packed = struct.pack(f"<{width}", number & (1 << 8 * struct.calcsize(width)) - 1)
                changed[at : at + len(packed)] = packed
            case 2:
                del changed[at : at + chance.randint(1, 600)]
            case 3:
                changed[at:at] = chance.randbytes(chance.randint(1, 40))
            case 4:
                mark = chance.choice(marks)
                changed[at : at + len(mark)] = mark
            case 5:
                start = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + chance.randint(1, 1024)]
            case _:
                other = chance.choice(others)
                start = chance.randrange(len(other) + 1)
                changed[at:] = other[start:]
    return bytes(changed)


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_no_mangled_archive_raises_hangs_or_grows(kind: str) -> None:
    chance, corpus = random.Random(f"{SEED} {kind}"), seeds(kind)
    end, runs = time.monotonic() + SECONDS, 0
    tracemalloc.start()
    try:
        while time.monotonic() < end:
            data = mangled(chance.choice(corpus), corpus, chance, _MARKS[kind])
            source, began = Fenced(data, f"fuzz.{kind}"), time.monotonic()
            tracemalloc.reset_peak()
            try:
                report = verify(source, limits=LIMITS)
            except Exception as error:
                raise AssertionError(f"seed {SEED}, run {runs}: {data.hex()}") from error
            peak = tracemalloc.get_traced_memory()[1]
            assert report.verdict in ("valid", "warnings", "invalid", "rejected")
            assert time.monotonic() - began < SLOWEST, f"seed {SEED}, run {runs}: slow on {data.hex()}"
            assert peak < MEMORY, f"seed {SEED}, run {runs}: {peak} bytes for {data.hex()}"
            assert source.read_bytes <= 40 * len(data) + 2**20, f"seed {SEED}, run {runs}: read again and again"
            runs += 1
    finally:
        tracemalloc.stop()
    assert runs > 20
