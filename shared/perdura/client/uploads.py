"""Sending packages: any source of bytes whose ranges can be read again, whole or in parts, several at a time.

What has arrived is not sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from perdura.client.http import Transport

AT_ONCE = 4
"""Parts that are sent at the same time."""

LARGE = 64 * 2**20
"""Bytes above which a package is sent in parts."""

_PAGE = 100
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """What is sent: name, size in bytes, any range of its bytes, and its SHA-256 where that is known beforehand."""

    filename: str
    size: int
    read: Callable[[int, int], Iterator[bytes]]
    sha256: str | None = None


def file_to_send(path: str | PathLike[str]) -> Upload:
    """A file as it is, hashed first so that the store's copy can be held against it. Raises OSError."""
    file = Path(path)
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")

    def read(offset: int, length: int) -> Iterator[bytes]:
        with file.open("rb") as opened:
            opened.seek(offset)
            while length > 0 and (chunk := opened.read(min(_CHUNK, length))):
                length -= len(chunk)
                yield chunk

    return Upload(file.name, file.stat().st_size, read, digest.hexdigest())


def send_whole(registry: Transport, target: dict[str, Any], upload: Upload, noted: Callable[[int], None]) -> None:
    """Send it by one request. When the connection breaks it is sent anew: `noted` gets the bytes back as a minus."""
    told = 0

    def body() -> Iterator[bytes]:
        nonlocal told
        noted(-told)
        told = 0
        for chunk in upload.read(0, upload.size):
            yield chunk
            told += len(chunk)
            noted(len(chunk))

    registry.upload(target["url"], target.get("headers") or {}, upload.size, body)


def send_parts(registry: Transport, address: str, upload: Upload, noted: Callable[[int], None]) -> None:
    """Send every part that has not arrived; `address` lists them, `noted` is told of bytes that are there.

    Raises Refused, Unreachable; parts that arrived stay there for the next try.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="part") as pool:
        for page in _pages(registry, address):
            waiting = []
            for part in page["items"]:
                if part["received"]:
                    noted(part["size"])
                else:
                    waiting.append(pool.submit(_send_part, registry, part, upload, noted))
            done, left = wait(waiting, return_when=FIRST_EXCEPTION)
            for future in left:
                future.cancel()
            for future in done:
                future.result()


def _pages(registry: Transport, address: str) -> Iterator[dict[str, Any]]:
    following: int | None = 1
    while following is not None:
        page = registry.get(address, first=following, limit=_PAGE)
        yield page
        following = page["next"]


def _send_part(registry: Transport, part: dict[str, Any], upload: Upload, noted: Callable[[int], None]) -> None:
    registry.upload(part["url"], {}, part["size"], lambda: upload.read(part["offset"], part["size"]))
    noted(part["size"])
