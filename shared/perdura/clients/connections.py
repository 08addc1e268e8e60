"""HTTP/1.1 connections of the outgoing client: opened to judged addresses only, kept open and used again.

Python's own `http.client` does the protocol: a harvest of many small files spends its time there, and a large file
passes through in few and large reads.
"""

from __future__ import annotations

import http.client
import io
import math
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from perdura.clients.addresses import origin_of
from perdura.clients.reach import Lookup, Reach, judged_addresses, look_up

Headers = tuple[tuple[str, str], ...]
"""Header fields in order, names in lower case."""

IDLE_SECONDS = 20
"""How long an unused connection is kept."""

READ = 1 << 18
"""Most bytes of one read from a connection."""

PATIENCE = 60.0
"""Seconds within which the head of an answer has to come, and each piece of its body, however slowly bytes trickle."""

FAILURES = (OSError, http.client.HTTPException)
"""What a broken, refused or silent connection raises."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An answer as it begins. `close` must be called; a body read to its end keeps the connection usable.

    `chunks` raises one of FAILURES when the body ends before its length.
    """

    status: int
    headers: Headers
    chunks: Iterator[bytes] = field(repr=False)
    close: Callable[[], None] = field(repr=False)


class Network(Protocol):
    """Sends one request and gives the answer as it begins; raises one of FAILURES, or DestinationRefused."""

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        """Send a request."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Clock(io.RawIOBase):
    """Reads from a connection until an instant: a byte now and then does not prolong it."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock
        self._silence = sock.gettimeout() or PATIENCE
        self._until = 0.0

    def start(self, seconds: float) -> None:
        """Give the reads that follow so many seconds together."""
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer came too slowly")
        if left >= self._silence:
            return self._raw.readinto(buffer)
        self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(self._silence)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer with a clock of its own."""

    def __init__(self, sock: socket.socket, *arguments: Any, **more: Any) -> None:
        super().__init__(sock, *arguments, **more)
        self.clock = _Clock(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self.clock)


class _Connection(http.client.HTTPConnection):
    """A connection to the first judged address that answers; TLS checks the name, not the address."""

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        addresses: list[str],
        timeouts: tuple[float, float],
        until: float,
    ) -> None:
        super().__init__(host, port)
        self._tls = scheme == "https"
        self._addresses = addresses
        self._connect_seconds, self._read_seconds = timeouts
        self._until = until
        self.response_class = self._response  # type: ignore[assignment]
        self.last_used = time.monotonic()

    def _response(self, *arguments: Any, **more: Any) -> _Response:
        response = _Response(*arguments, **more)
        response.clock.start(self._left(PATIENCE))
        return response

    def _left(self, seconds: float) -> float:
        left = min(seconds, self._until - time.monotonic())
        if left <= 0:
            raise TimeoutError("the exchange takes too long")
        return left

    def connect(self) -> None:
        failure: OSError | None = None
        for address in self._addresses:
            try:
                sock = socket.create_connection((address, self.port), self._left(self._connect_seconds))
                break
            except OSError as error:
                failure = error
        else:
            raise failure or OSError("no address")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            sock.settimeout(self._left(self._connect_seconds))
            sock = _tls().wrap_socket(sock, server_hostname=self.host)
        sock.settimeout(self._left(self._read_seconds))
        self.sock = sock

    def reusable(self) -> bool:
        """Whether the connection is fresh and the server has not hung up meanwhile."""
        if self.sock is None or time.monotonic() - self.last_used > IDLE_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class Connections:
    """Connections within one `Reach`, shared by threads. `timeouts` are seconds to connect and between two reads.

    `within` are seconds that a new connection has for everything from the look-up of its name to the head of its
    answer.
    """

    def __init__(
        self,
        reach: Reach,
        timeouts: tuple[float, float],
        *,
        kept: int = 8,
        lookup: Lookup = look_up,
        within: float | None = None,
    ) -> None:
        self._reach = reach
        self._timeouts = timeouts
        self._kept = kept
        self._lookup = lookup
        self._within = within
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            connections = [connection for idle in self._idle.values() for connection in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()

    def send(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Exchange:
        """Send a request on an idle or a new connection.

        A server may hang up on an idle connection at the very moment it is used again: a safe request is then sent
        once more on a new one.
        """
        origin, target = _target(url)
        connection = self._take(origin)
        if connection is not None:
            try:
                return self._exchange(connection, origin, method, target, headers, content)
            except FAILURES:
                if method not in ("GET", "HEAD"):
                    raise
        connection = self._new(origin)
        return self._exchange(connection, origin, method, target, headers, content)

    def _new(self, origin: tuple[str, str, int]) -> _Connection:
        scheme, host, port = origin
        until = math.inf if self._within is None else time.monotonic() + self._within
        addresses = [str(address) for address in judged_addresses(host, port, self._reach, self._lookup)]
        return _Connection(scheme, host, port, addresses, self._timeouts, until)

    def _take(self, origin: tuple[str, str, int]) -> _Connection | None:
        with self._lock:
            idle = self._idle.get(origin, [])
            while idle:
                connection = idle.pop()
                if connection.reusable():
                    return connection
                connection.close()
        return None

    def _give(self, origin: tuple[str, str, int], connection: _Connection) -> None:
        connection.last_used = time.monotonic()
        with self._lock:
            idle = self._idle.setdefault(origin, [])
            if len(idle) < self._kept:
                idle.append(connection)
                return
        connection.close()

    def _exchange(
        self,
        connection: _Connection,
        origin: tuple[str, str, int],
        method: str,
        target: str,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> Exchange:
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if content is not None or method == "POST":
                connection.putheader("Content-Length", str(len(content or b"")))
            connection.endheaders(content)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise

        def close() -> None:
            # A body of known length is not marked as closed by the read that takes its last byte.
            whole = response.isclosed() or response.length == 0
            response.close()
            if whole and not response.will_close:
                self._give(origin, connection)
            else:
                connection.close()

        return Exchange(response.status, _headers(response), _chunks(response), close)


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        if isinstance(response, _Response):
            response.clock.start(PATIENCE)
        data = response.read1(READ)
        if not data:
            break
        yield data
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def _headers(response: http.client.HTTPResponse) -> Headers:
    return tuple((name.lower(), _text(value)) for name, value in response.getheaders())


def _text(value: str) -> str:
    """A header's text: http.client reads Latin-1, servers write UTF-8."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _target(url: str) -> tuple[tuple[str, str, int], str]:
    """Origin and request target of an address; what may not stand in a request line is percent-encoded."""
    parts = urlsplit(url)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = "?" + quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]") if parts.query else ""
    return origin_of(url), path + query
