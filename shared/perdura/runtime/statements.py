"""Counts the SQL statements of this thread, and traces them where that is wanted.

The count is for the log line of each delivery (architecture §8: at most 12).
"""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy import Engine, event

from perdura import tracing

_counted = threading.local()


def count_on(engine: Engine) -> Engine:
    """Count the statements of `engine` from now on."""
    event.listen(engine, "before_cursor_execute", _one_more)
    if tracing.enabled():
        event.listen(engine, "before_cursor_execute", _begin)
        event.listen(engine, "after_cursor_execute", _end)
        event.listen(engine, "handle_error", _failed)
    return engine


def restart() -> None:
    """Begin to count anew in this thread."""
    _counted.number = 0


def counted() -> int:
    """Statements of this thread since `restart`."""
    return getattr(_counted, "number", 0)


def _one_more(*_: Any) -> None:
    _counted.number = counted() + 1


def _begin(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    if context is None:
        return  # a statement of `prepared`, which traces itself
    context.span = tracing.sql(statement)
    context.span.__enter__()


def _end(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    context.span.__exit__(None, None, None)


def _failed(failure: Any) -> None:
    span = getattr(failure.execution_context, "span", None)
    if span is not None:
        error = failure.original_exception
        span.__exit__(type(error), error, error.__traceback__)
