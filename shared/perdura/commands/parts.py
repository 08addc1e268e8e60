"""Sends a deposit in parts, several at a time; what has arrived is not sent again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

from perdura.commands import api
from perdura.commands.failures import Unusable
from perdura.commands.sending import Upload

AT_ONCE = 4
"""Parts that are sent at the same time."""

_PAGE = 100


def send(registry: api.Api, address: str, upload: Upload, noted: Callable[[int], None]) -> None:
    """Send every part that has not arrived; `address` lists them, `noted` is told of bytes that are there.

    Raises Refused, Unusable; parts that arrived stay there for the next try.
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


def _pages(registry: api.Api, address: str) -> Iterator[dict[str, Any]]:
    following: int | None = 1
    while following is not None:
        page = registry.get(address, first=following, limit=_PAGE)
        yield page
        following = page["next"]


def _send_part(registry: api.Api, part: dict[str, Any], upload: Upload, noted: Callable[[int], None]) -> None:
    registry.upload(part["url"], {}, part["size"], lambda: upload.read(part["offset"], part["size"]))
    noted(part["size"])


def check_resumed(deposit: dict[str, Any], upload: Upload) -> None:
    """Raise Unusable unless what is there to be sent is what the deposit was announced with."""
    announced = (deposit["filename"], deposit["size"])
    if announced != (upload.filename, upload.size) or (deposit["sha256"] or upload.sha256) != upload.sha256:
        raise Unusable(f"this is not what the deposit was begun with: {deposit['filename']}, {deposit['size']} bytes")
