"""gunicorn's worker of threads, whose threads stay with a connection for a moment after each answer.

A client that writes one event after the other sends its next request within a millisecond. Handing the connection to
the poller of the main thread and back in between costs more than many requests do.
"""

from __future__ import annotations

import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

LINGER = 3
"""Milliseconds that a thread waits for the next request of its connection while nobody else waits for a thread."""


class LingeringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker of threads of gunicorn; a thread takes the next request of its connection if it comes soon."""

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow it at once."""
        result = super().handle(conn)
        while result is True and self.alive and self.tpool._work_queue.empty() and self._next(conn):
            result = super().handle(conn)
        return result

    def _next(self, conn: Any) -> bool:
        """Whether the connection has, or soon gets, another request; none are waited for when it is encrypted."""
        if self.cfg.is_ssl or conn.is_http2:
            return False
        if conn.parser.unreader.buf.getvalue():
            return True
        waiting = select.poll()
        waiting.register(conn.sock, select.POLLIN)
        return bool(waiting.poll(LINGER))
