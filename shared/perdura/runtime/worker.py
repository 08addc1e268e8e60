"""gunicorn's worker of threads, whose threads stay with a connection for a moment after each answer.

A client that writes one event after the other sends its next request within a millisecond. Handing the connection to
the poller of the main thread and back in between costs more than many requests do. So does waking the client up for
the head of an answer, and once more for what it waits for.
"""

from __future__ import annotations

import select
from typing import Any

from gunicorn.http import wsgi
from gunicorn.workers.gthread import ThreadWorker

LINGER = 3
"""Milliseconds that a thread waits for the next request of its connection while nobody else waits for a thread."""

TOGETHER = 65_536
"""Bytes up to which the head of an answer and what follows it are put into one message."""


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


class WholeResponse(wsgi.Response):  # type: ignore[misc]
    """The answer of gunicorn, whose head leaves in one message with the first part of the body."""

    def write(self, arg: bytes) -> None:
        """Send a part of the body, after the head if that was not sent."""
        if self.headers_sent:
            super().write(arg)
            return
        connection: Any = self.sock  # type: ignore[has-type]
        kept = self.sock = _Kept()
        try:
            super().write(arg)
        finally:
            self.sock = connection
        parts = kept.parts if sum(map(len, kept.parts)) > TOGETHER else [b"".join(kept.parts)]
        for part in parts:
            connection.sendall(part)


class _Kept:
    """What would have been sent."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        """Keep it."""
        self.parts.append(data)


wsgi.Response = WholeResponse  # the class that `wsgi.create` answers HTTP/1 with; the worker cannot name another
