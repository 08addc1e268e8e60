"""The clock of the transfer service, which may be set wrong: one per process, as a machine has one."""

from __future__ import annotations

import time

_offset = 0.0


def now() -> float:
    """Epoch seconds as the transfer service sees them."""
    return time.time() + _offset


def offset() -> float:
    """Seconds by which the clock is ahead of this machine's."""
    return _offset


def set_offset(seconds: float) -> None:
    """Put the clock so many seconds ahead of this machine's."""
    global _offset
    _offset = seconds


def moment(seconds: float | None = None) -> str:
    """A time, by default the present one, as FTS writes it: UTC, whole seconds, no zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now() if seconds is None else seconds))
