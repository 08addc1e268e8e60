"""Identifiers: time-ordered ones for what is new, derived ones for what must be the same when done twice."""

from __future__ import annotations

import os
import time
import uuid

NAMESPACE = uuid.UUID("6f1c1f0e-6f0b-5c7e-9a52-7e7f2f9d4b11")
"""Namespace of every derived identifier of Perdura; changing it would make old causes produce new ids."""


def new_id() -> uuid.UUID:
    """A fresh UUID version 7 (RFC 9562 5.7): sorts by time of creation, gives away nothing else."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return uuid.UUID(int=value)


def derived_id(*cause: object) -> uuid.UUID:
    """The UUID version 5 of a cause: the same parts always give the same identifier (architecture §4)."""
    return uuid.uuid5(NAMESPACE, "\x1f".join(str(part) for part in cause))
