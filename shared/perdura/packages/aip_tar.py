"""Header blocks of a deterministic tar: the same member gives the same bytes (packages.md §6)."""

from __future__ import annotations

import tarfile

BLOCK = 512
END = bytes(2 * BLOCK)
"""Two zero blocks end a tar (POSIX.1-2017, pax, "ustar Interchange Format")."""


def header(path: str, size: int, mtime: int) -> bytes:
    """The header of a regular file: mode 0644, no owner, `mtime` in whole seconds, PAX records only when needed."""
    info = tarfile.TarInfo(path)
    info.size = size
    info.mtime = mtime
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> bytes:
    """The zeros that fill a body of `size` bytes up to whole blocks."""
    return bytes(-size % BLOCK)
