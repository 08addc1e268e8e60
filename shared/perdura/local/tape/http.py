"""A small threaded HTTP/1.1 server: requests and responses as values, keep-alive, streams, optional TLS.

A thread waits in the kernel for each open connection, so an idle server uses no CPU. Client certificates are
optional and RFC 3820 proxies are accepted, as grid services do.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

CHUNK = 1 << 20
IDLE_SECONDS = 75.0
NAMES = {419: "Authentication Timeout", 304: "Not Modified"}


class BodyTooLarge(Exception):
    """The request body is larger than the handler accepts."""


class ConnectionLost(Exception):
    """Drop the connection without an answer, as a broken network would."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of the connection: the DER certificates it presented, leaf first."""

    address: str = "127.0.0.1"
    chain: tuple[bytes, ...] = ()


@dataclass(slots=True)
class Request:
    """One request. `path` is percent-decoded with repeated slashes merged; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: Peer = field(default_factory=Peer)
    stream: Callable[[], Iterator[bytes]] = lambda: iter(())

    def argument(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def content(self, limit: int = 16 << 20) -> bytes:
        """The whole body; raises BodyTooLarge beyond `limit` bytes."""
        parts, total = [], 0
        for part in self.stream():
            total += len(part)
            if total > limit:
                raise BodyTooLarge
            parts.append(part)
        return b"".join(parts)


@dataclass(slots=True)
class Response:
    """One answer. An iterator as body is sent as it comes: chunked unless a Content-Length is given."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


def reason(status: int) -> str:
    """The reason phrase of a status, FTS's own 419 included."""
    return NAMES.get(status) or HTTPStatus(status).phrase


def as_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def split_target(target: str) -> tuple[str, dict[str, list[str]]]:
    """Path and query of a request target, slashes merged as Apache does (fts-cta.md 2.1)."""
    while "//" in target.partition("?")[0]:
        head, mark, tail = target.partition("?")
        target = head.replace("//", "/") + mark + tail
    parts = urlsplit(target)
    return unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Server

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(10)
            self.request.do_handshake()
        super().setup()

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self) -> None:
        """Run the handler for the request just parsed and send what it gives back."""
        length = self.headers.get("Content-Length", "")
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        body = _Body(self.rfile, None if chunked else int(length) if length.isdigit() else 0)
        path, query = split_target(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, path, query, headers, self.server.peer(self), body.chunks)
        try:
            response = self.server.handler(request)
        except BodyTooLarge:
            response = Response(413)
        except ConnectionLost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.close_connection = self.close_connection or not body.finished
        self.send(response)

    def send(self, response: Response) -> None:
        """Write status, headers and body; a short body needs one system call only."""
        known = isinstance(response.body, bytes)
        if known and response.status not in (204, 304):
            response.headers.setdefault("Content-Length", str(len(response.body)))  # type: ignore[arg-type]
        chunked = not known and "Content-Length" not in response.headers
        if chunked:
            response.headers["Transfer-Encoding"] = "chunked"
        if self.close_connection:
            response.headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {response.status} {reason(response.status)}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if self.command == "HEAD" or known:
            self.wfile.write(head + (b"" if self.command == "HEAD" else bytes(response.body)))  # type: ignore[arg-type]
            return
        self.wfile.write(head)
        try:
            for part in response.body:
                data: bytes = part  # type: ignore[assignment]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        except ConnectionLost:
            self.close_connection = True
            return
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: request lines can carry presigned URLs."""


class _Body:
    """The body of one request, read once, never beyond its end."""

    def __init__(self, source: BufferedIOBase, length: int | None) -> None:
        self.source, self.left = source, length
        self.finished = length == 0

    def chunks(self) -> Iterator[bytes]:
        """The bytes of the body as they arrive; raises ConnectionResetError when it breaks off."""
        if self.left is None:
            while size := int(self.source.readline(64).split(b";")[0] or b"0", 16):
                yield self._exactly(size)
                self.source.readline(8)
            self.source.readline(8)
        else:
            while self.left:
                data = self._exactly(min(self.left, CHUNK))
                self.left -= len(data)
                yield data
        self.finished = True

    def _exactly(self, size: int) -> bytes:
        data = self.source.read(size)
        if len(data) < size:
            raise ConnectionResetError("the request body broke off")
        return data


class Server(ThreadingHTTPServer):
    """One listening port of the loopback interface and the handler behind it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.handler = handler
        self.tls = tls is not None
        self._thread: threading.Thread | None = None
        self._stopping = False
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'https' if self.tls else 'http'}://{'localhost' if self.tls else '127.0.0.1'}:{self.port}"

    def peer(self, connection: BaseHTTPRequestHandler) -> Peer:
        """The other end of a connection, with the certificates of its TLS handshake."""
        channel = connection.connection
        if not isinstance(channel, ssl.SSLSocket):
            return Peer(str(connection.client_address[0]))
        leaf = channel.getpeercert(True)
        return Peer(str(connection.client_address[0]), (leaf,) if leaf else ())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break; that is no event in a server's life."""

    def start(self) -> None:
        """Serve in a thread of its own, which sleeps in the kernel between connections."""
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; what is being answered dies with the process."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join()
        self.server_close()

    def _accept(self) -> None:
        while not self._stopping:
            try:
                connection, address = self.get_request()
            except OSError:
                # Stopped, or out of file descriptors for a moment: never spin.
                time.sleep(0.02)
                continue
            self.process_request(connection, address)

    def close_request(self, request: Any) -> None:
        """Close a connection; one that broke is closed already."""
        with contextlib.suppress(OSError):
            super().close_request(request)


def tls_context(directory: str) -> ssl.SSLContext:
    """TLS with `host.pem`, `host.key` and optional clients signed by `ca.pem`, RFC 3820 proxies included."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/host.pem", f"{directory}/host.key")
    context.load_verify_locations(f"{directory}/ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
    return context
