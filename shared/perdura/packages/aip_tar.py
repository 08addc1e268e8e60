"""Header blocks of a deterministic tar: the same member gives the same bytes (packages.md §6; POSIX pax format)."""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two zero blocks end a tar (POSIX.1-2017, pax, "ustar Interchange Format")."""

_NAME = 100
_OCTAL_LIMIT = 8**11
_REGULAR, _EXTENDED = b"0", b"x"
_EXTENDED_NAME = b"././@PaxHeader"


def header(path: str, size: int, mtime: int) -> bytes:
    """The header of a regular file: mode 0644, no owner, `mtime` in whole seconds.

    Extended records precede it only where ustar cannot hold the path or the size in bytes.
    """
    name = path.encode()
    records = b""
    if len(name) > _NAME or not path.isascii():
        records += _record(b"path", name)
    if size >= _OCTAL_LIMIT:
        records += _record(b"size", b"%d" % size)
    block = _block(name[:_NAME], size if size < _OCTAL_LIMIT else 0, mtime, _REGULAR)
    if not records:
        return block
    return _block(_EXTENDED_NAME, len(records), 0, _EXTENDED) + records + padding(len(records)) + block


def padding(size: int) -> bytes:
    """The zeros that fill a body of `size` bytes up to whole blocks."""
    return bytes(-size % BLOCK)


def _block(name: bytes, size: int, mtime: int, kind: bytes) -> bytes:
    start = b"%s%s%011o\0%011o\0" % (name.ljust(_NAME, b"\0"), b"0000644\0" + b"0000000\0" * 2, size, mtime)
    end = (kind + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2).ljust(BLOCK - len(start) - 8, b"\0")
    checksum = sum(start) + 8 * 0x20 + sum(end)
    return b"%s%06o\0 %s" % (start, checksum, end)


def _record(keyword: bytes, value: bytes) -> bytes:
    """An extended record: its own length counts the digits of that length."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)
