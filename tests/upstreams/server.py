"""A repository on a loopback port that answers what a test tells it to, well or badly."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """One answer. Bytes are counted in the body.

    `ranges`: honour `Range` (with `If-Range`). `cut_at`: close after so many bytes. `reset_at`: reset the connection
    there. `drip`: seconds between the bytes. `delay`: seconds before the headers. `length`: False leaves
    Content-Length out and closes; a number lies.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ranges: bool = False
    cut_at: int | None = None
    reset_at: int | None = None
    drip: float = 0
    delay: float = 0
    length: bool | int = True


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]


class Upstream:
    """What a test programmes: answers by path. A list is used up one by one, its last answer stays."""

    def __init__(self) -> None:
        self.routes: dict[str, list[Reply]] = {}
        self.fallback: Callable[[str], Reply | None] = lambda path: None
        self.posted: Callable[[str, bytes], Reply | None] = lambda path, body: None
        self.seen: list[Seen] = []
        self.base = ""
        self._lock = threading.Lock()

    def add(self, path: str, *replies: Reply) -> None:
        """Answer this path (with its query, when it is given) in this order."""
        self.routes[path] = list(replies)

    def answer(self, path: str) -> Reply:
        """The next answer for a path."""
        with self._lock:
            replies = self.routes.get(path) or self.routes.get(path.partition("?")[0])
            if not replies:
                return self.fallback(path) or Reply(
                    b'{"message": "not found"}', 404, {"Content-Type": "application/json"}
                )
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def paths(self) -> list[str]:
        """Paths of the requests so far."""
        return [request.path for request in self.seen]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: Upstream

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.upstream.seen.append(Seen(self.command, self.path, headers))
        length = int(headers.get("content-length", 0))
        body = self.rfile.read(length) if length else b""
        posted = self.upstream.posted(self.path, body) if self.command == "POST" else None
        reply = posted or self.upstream.answer(self.path)
        time.sleep(reply.delay)
        status, body, extra = reply.status, reply.body, dict(reply.headers)
        if reply.ranges and "range" in headers and headers.get("if-range") in (None, extra.get("ETag")):
            first = int(headers["range"].removeprefix("bytes=").rstrip("-"))
            status, body = 206, reply.body[first:]
            extra["Content-Range"] = f"bytes {first}-{len(reply.body) - 1}/{len(reply.body)}"
        self.send_response(status)
        for name, value in extra.items():
            self.send_header(name, value)
        if reply.length is False:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body) if reply.length is True else reply.length))
        self.end_headers()
        if self.command != "HEAD":
            self._write(body, reply)
        if reply.length is not True:
            self.close_connection = True

    do_HEAD = do_GET
    do_POST = do_GET

    def _write(self, body: bytes, reply: Reply) -> None:
        stop = min(n for n in (reply.cut_at, reply.reset_at, len(body)) if n is not None)
        try:
            if reply.drip:
                for offset in range(stop):
                    self.wfile.write(body[offset : offset + 1])
                    self.wfile.flush()
                    time.sleep(reply.drip)
            else:
                self.wfile.write(body[:stop])
                self.wfile.flush()
        except OSError:
            self.close_connection = True
            return
        if reply.reset_at is not None and reply.reset_at < len(body):
            # Linger 0: closing sends RST instead of FIN.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        elif stop < len(body):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what the tests are about."""


@contextmanager
def serving(upstream: Upstream | None = None) -> Iterator[Upstream]:
    """Serve an upstream on a free loopback port for as long as the context lasts."""
    upstream = upstream or Upstream()
    handler = type("Handler", (_Handler,), {"upstream": upstream})
    server = _Server(("127.0.0.1", 0), handler)
    upstream.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
