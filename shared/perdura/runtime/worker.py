"""gunicorn's worker of threads, whose threads stay with a connection for a moment after each answer.

A client that writes one event after the other sends its next request within a millisecond. Handing the connection to
the poller of the main thread and back in between costs more than many requests do. So does waking the client up for
the head of an answer, and once more for what it waits for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import Any

from gunicorn.http import wsgi
from gunicorn.util import close_graceful, http_date, is_hoppish
from gunicorn.workers.gthread import ThreadWorker

from perdura.runtime.plain import Plain, PlainParser

TOGETHER = 65_536
"""Bytes up to which the head of an answer and what follows it are put into one message."""

_VALUE = re.compile("[!-~](?:[ -~]*[!-~])?")


class LingeringWorker(ThreadWorker):  # type: ignore[misc]
    """The worker of threads of gunicorn; a thread takes the next request of its connection if it comes soon."""

    def handle(self, conn: Any) -> Any:
        """Answer a request, and those that follow it at once while nobody else waits for a thread."""
        if conn.parser is None and _takes_plain(self.cfg, conn):
            conn.parser = PlainParser(self.cfg, conn.sock, conn.client, conn.server)
        result = super().handle(conn)
        while result is True and self.alive and self.tpool._work_queue.empty() and self._next(conn):
            result = super().handle(conn)
        return result

    def _next(self, conn: Any) -> bool:
        """Whether the connection has, or soon gets, another request; none are waited for when it is encrypted."""
        if not isinstance(conn.parser, PlainParser):
            return False
        return bool(conn.parser.unreader.buf.getvalue()) or conn.parser.readable()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer one request; whether its connection is kept."""
        if not isinstance(req, Plain):
            return super().handle_request(req, conn)
        answer = WholeResponse(req, conn.sock, self.cfg)
        self.nr += 1
        if self.nr >= self.max_requests:
            self.alive = False
        if not self.alive or len(self.keepalived_conns) >= self.max_keepalived:
            answer.force_close()
        begun = datetime.now(UTC)
        try:
            parts = self.wsgi(req.environ, answer.start_response)
            try:
                for part in parts:
                    answer.write(part)
                answer.close()
            finally:
                self.log.access(answer, req, req.environ, datetime.now(UTC) - begun)
                if hasattr(parts, "close"):
                    parts.close()
        except OSError:
            raise
        except Exception:
            if not answer.headers_sent:
                raise
            self.log.exception("Error handling request")
            close_graceful(conn.sock)
            return False
        return not answer.should_close()


def _takes_plain(cfg: Any, conn: Any) -> bool:
    """Whether a connection speaks HTTP/1 from its first byte on, between addresses of the internet."""
    if cfg.is_ssl or cfg.protocol != "http" or cfg.http2_cleartext != "off" or not cfg.keepalive:
        return False
    return isinstance(conn.client, tuple) and isinstance(conn.server, tuple)


class WholeResponse(wsgi.Response):  # type: ignore[misc]
    """The answer of gunicorn, whose head leaves in one message with the first part of the body."""

    def process_headers(self, headers: Sequence[tuple[str, str]]) -> None:
        """Take the headers of an answer; gunicorn looks at them only if it would refuse, change or drop one."""
        for name, value in headers:
            if not _goes_as_it_is(name) or _VALUE.fullmatch(value) is None:
                self.headers, self.response_length = [], None
                super().process_headers(headers)
                return
            if name.lower() == "content-length":
                self.response_length = int(value)
            self.headers.append((name, value))

    def default_headers(self) -> list[str]:
        """What every answer begins with."""
        if self.upgrade or self.chunked:
            return list(super().default_headers())
        kept = "close" if self.should_close() else "keep-alive"
        major, minor = self.req.version
        return [
            f"HTTP/{major}.{minor} {self.status}\r\nServer: {self.version}\r\nDate: {_date(int(time()))}\r\n"
            f"Connection: {kept}\r\n"
        ]

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


@lru_cache(maxsize=256)
def _goes_as_it_is(name: str) -> bool:
    """Whether a header is sent as it is named."""
    return wsgi.TOKEN_RE.fullmatch(name) is not None and not is_hoppish(name)


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return str(http_date(second))


wsgi.Response = WholeResponse  # the class that `wsgi.create` answers HTTP/1 with; the worker cannot name another
