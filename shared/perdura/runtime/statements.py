"""Counts the SQL statements of this thread, for the log line of each delivery (architecture §8: at most 12)."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import Engine, event

_counted = threading.local()


def count_on(engine: Engine) -> Engine:
    """Count the statements of `engine` from now on."""
    event.listen(engine, "before_cursor_execute", _one_more)
    return engine


def restart() -> None:
    """Begin to count anew in this thread."""
    _counted.number = 0


def counted() -> int:
    """Statements of this thread since `restart`."""
    return getattr(_counted, "number", 0)


def _one_more(*_: Any) -> None:
    _counted.number = counted() + 1
