"""Digests that one invocation computed, put down for the one that judges: compact, and checked when read back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence

from perdura.errors import Broken
from perdura.storage.digests import HEX_LENGTHS

_INDEX = 4


def to_bytes(algorithms: Sequence[str], digests: Mapping[int, Sequence[bytes]]) -> bytes:
    """A line of JSON (algorithms, count), then per member its index and its digests, then a CRC-32 of it all."""
    head = json.dumps({"algorithms": list(algorithms), "members": len(digests)}).encode() + b"\n"
    rows = b"".join(index.to_bytes(_INDEX, "big") + b"".join(digests[index]) for index in sorted(digests))
    return head + rows + zlib.crc32(head + rows).to_bytes(4, "big")


def from_bytes(data: bytes) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Member index and its digests by algorithm; raises Broken for a receipt that is damaged."""
    body, crc = data[:-4], data[-4:]
    if zlib.crc32(body).to_bytes(4, "big") != crc:
        raise Broken("the receipt of a verification is damaged", code="receipt-damaged")
    head, _, rows = body.partition(b"\n")
    try:
        told = json.loads(head)
        lengths = [(name, HEX_LENGTHS[name] // 2) for name in told["algorithms"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("the receipt of a verification cannot be read", code="receipt-damaged") from error
    width = _INDEX + sum(length for _, length in lengths)
    if len(rows) != told["members"] * width:
        raise Broken("the receipt of a verification is damaged", code="receipt-damaged")
    for start in range(0, len(rows), width):
        at = start + _INDEX
        found = {}
        for name, length in lengths:
            found[name] = rows[at : at + length]
            at += length
        yield int.from_bytes(rows[start : start + _INDEX], "big"), found
