"""Answers to `Range` and `If-Range` for files that do not come over HTTP (RFC 9110 §13.1.5, §14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from perdura.clients.connections import Headers

_FROM = re.compile(r"bytes=(?P<first>\d{1,19})-")


@dataclass(frozen=True, slots=True)
class Ranged:
    """Status and headers of the answer, and the byte at which it begins."""

    status: int
    headers: Headers
    first: int


def answer(asked: Mapping[str, str] | None, etag: str, size: int) -> Ranged:
    """What a file in the state `etag` answers: the rest from a byte on when it is still in that state, else all."""
    match = _FROM.fullmatch((asked or {}).get("Range", ""))
    if match and (asked or {}).get("If-Range") == etag and int(match["first"]) < size:
        first = int(match["first"])
        return Ranged(206, (("etag", etag), ("content-range", f"bytes {first}-{size - 1}/{size}")), first)
    return Ranged(200, (("etag", etag),), 0)
