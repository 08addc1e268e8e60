"""Uploads and their parts as values, and how large parts are; nothing here speaks to a store."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20
_SMALLEST_PART = 16 * MIB
_MOST_PARTS = 9_000


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload in progress."""

    bucket: str
    key: str
    id: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part that has arrived: number from 1 on, size in bytes, and what the store calls its content."""

    number: int
    size: int
    etag: str


def part_size(size: int | None, written: int = 0) -> int:
    """Bytes of the next part: 10,000 parts must do (S3 multipart limits), memory should not grow before it must.

    With an unknown total the parts grow with what was written, so that any object up to 5 TiB fits.
    """
    if size is not None:
        return max(_SMALLEST_PART, -(-size // _MOST_PARTS // MIB) * MIB)
    return max(_SMALLEST_PART, written // 1_000 // MIB * MIB)
