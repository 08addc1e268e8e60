"""Writes tar archives as streams: deterministic bytes, known offsets (packages.md 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from perdura.errors import Broken

BLOCK = 512
RECORD = 20 * BLOCK
"""Archives are padded to whole records (POSIX pax, "ustar Interchange Format")."""
END = bytes(2 * BLOCK)
"""Two zero blocks end a tar."""

_LARGEST_OCTAL = 8**11
_ZEROS = bytes(RECORD)

Sink = Callable[[bytes | bytearray | memoryview], object]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a file's body lies in the archive."""

    path: str
    offset: int
    size: int


class TarWriter:
    """Streams members to `write` (such as `Writer.write`): ustar, with pax records only where they are needed.

    The same members in the same order give the same bytes: owner 0 without names, mode 0644 and 0755, one
    modification time for all (`mtime`, Unix seconds). Names must be UTF-8 without NUL.
    """

    def __init__(self, write: Sink, mtime: int = 0) -> None:
        self._write = write
        self._mtime = mtime
        self.position = 0

    def add(
        self, path: str, size: int, chunks: Iterable[bytes | bytearray | memoryview], crc32: int | None = None
    ) -> Placed:
        """Write a file of exactly `size` bytes; raises Broken when the chunks hold another number.

        `crc32` is for archives that keep one (`ZipWriter`); a tar does not.
        """
        del crc32
        self._emit(header(path, size, self._mtime))
        placed = Placed(path, self.position, size)
        written = 0
        for chunk in chunks:
            written += len(chunk)
            if written > size:
                break
            self._emit(chunk)
        if written != size:
            raise Broken(f"{path!r} has another size than was announced", code="size-mismatch")
        self._emit(padding(size))
        return placed

    def directory(self, path: str) -> None:
        """Write a directory (only needed where one is empty)."""
        self._emit(header(path.rstrip("/") + "/", 0, self._mtime, directory=True))

    def finish(self) -> int:
        """Write the end, two zero blocks and padding to a whole record; gives the size of the archive."""
        self._emit(END)
        self._emit(_ZEROS[: -self.position % RECORD])
        return self.position

    def _emit(self, data: bytes | bytearray | memoryview) -> None:
        if len(data):
            self._write(data)
            self.position += len(data)


def header(path: str, size: int, mtime: int, *, directory: bool = False) -> bytes:
    """All header blocks of one member: a pax header first when its name or size does not fit into ustar."""
    name = path.encode()
    if not name or b"\0" in name:
        raise Broken("a tar member needs a name without NUL", code="name-unsafe")
    prefix, base = _split(name)
    records: dict[str, bytes] = {}
    if base is None or not name.isascii():
        # Bytes beyond ASCII have no defined meaning in ustar fields: pax says UTF-8.
        records["path"] = name
        prefix, base = b"", _ascii_stand_in(name)
    if size >= _LARGEST_OCTAL:
        records["size"] = str(size).encode()
    blocks = b""
    if records:
        body = b"".join(_record(key.encode(), value) for key, value in sorted(records.items()))
        pax_name = b"PaxHeaders/" + _ascii_stand_in(name)[-88:]
        blocks = _block(pax_name, b"", len(body), mtime, b"x", 0o644) + body + padding(len(body))
    shown_size = 0 if "size" in records else size
    kind, mode = (b"5", 0o755) if directory else (b"0", 0o644)
    return blocks + _block(base, prefix, shown_size, mtime, kind, mode)


def padding(size: int) -> bytes:
    """The zeros that fill a body of `size` bytes up to whole blocks."""
    return _ZEROS[: -size % BLOCK]


def _split(name: bytes) -> tuple[bytes, bytes | None]:
    """Prefix and name fields of ustar, or (b"", None) when the path does not fit."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", max(len(name) - 101, 1))
    while cut != -1 and cut <= 155:
        if 0 < len(name) - cut - 1 <= 100:
            return name[:cut], name[cut + 1 :]
        cut = name.find(b"/", cut + 1)
    return b"", None


def _ascii_stand_in(name: bytes) -> bytes:
    short = bytes(byte if 32 < byte < 127 else 0x5F for byte in name)
    return short if len(short) <= 100 else short[:49] + b"__" + short[-49:]


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record `length key=value`; its length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    while len(str(length)) + rest != length:
        length = len(str(length)) + rest
    return b"%d %s=%s\n" % (length, key, value)


def _block(name: bytes, prefix: bytes, size: int, mtime: int, kind: bytes, mode: int) -> bytes:
    fields = b"".join(
        (
            name.ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % 0,
            b"%07o\0" % 0,
            b"%011o\0" % size,
            b"%011o\0" % max(0, min(mtime, _LARGEST_OCTAL - 1)),
            b" " * 8,
            kind,
            b"\0" * 100,
            b"ustar\00000",
            b"\0" * 64,
            b"%07o\0" % 0,
            b"%07o\0" % 0,
            prefix.ljust(155, b"\0"),
            b"\0" * 12,
        )
    )
    return fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]
