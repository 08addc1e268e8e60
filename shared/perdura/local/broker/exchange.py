"""HTTP requests to subscribers over kept connections: one exchange costs a fraction of a general client's.

Plain HTTP/1.1 only: a development broker talks to processes of the same machine.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

import h11

from perdura.local.broker.delivery import Response

RESPONSE_LIMIT = 10 * 2**20
REDIRECT_LIMIT = 10
_AS_GET = (301, 302, 303)
_AGAIN = (307, 308)
_READ_SIZE = 65536

Headers = Sequence[tuple[str, str]]


class NoAnswer(Exception):
    """No connection could be made, it broke, or what came was no HTTP."""


class Client:
    """Keeps idle connections by host and port. `token` is the bearer token that goes with every event."""

    def __init__(self, token: str | None = None) -> None:
        self._credential: Headers = [("authorization", f"Bearer {token}")] if token else []
        self._idle: dict[tuple[str, int], deque[_Connection]] = {}

    async def post(self, url: str, headers: Headers, body: bytes, *, redirects: bool) -> Response:
        """The answer to a POST. With `redirects` they are followed as browsers and Go do: 301 to 303 become GET.

        The token goes to `url` alone, wherever a redirect leads. Raises NoAnswer.
        """
        response = await self._request("POST", url, [*headers, *self._credential], body)
        method = "POST"
        for _ in range(REDIRECT_LIMIT if redirects else 0):
            location = response.headers.get("location")
            if location is None or response.status not in (*_AS_GET, *_AGAIN):
                return response
            url = urljoin(url, location)
            if response.status in _AS_GET:
                method, headers, body = "GET", [], b""
            response = await self._request(method, url, headers, body)
        return response

    async def aclose(self) -> None:
        """Close the idle connections."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    async def _request(self, method: str, url: str, headers: Headers, body: bytes) -> Response:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise NoAnswer(f"not an http address: {url}")
        place = (parts.hostname, parts.port or 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        raw = [("host", parts.netloc.rpartition("@")[2]), *headers]
        if method == "POST":
            raw.append(("content-length", str(len(body))))
        try:
            request = h11.Request(
                method=method,
                target=target.encode("ascii", "replace"),
                headers=[
                    (name.encode("ascii"), value.strip(" \t").encode("utf-8", "surrogateescape")) for name, value in raw
                ],
            )
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise NoAnswer("the event cannot be written as an HTTP request") from error
        idle = self._idle.setdefault(place, deque())
        while idle:
            connection = idle.pop()
            if connection.is_stale():
                connection.close()
                continue
            try:
                return await self._exchange(connection, request, body, idle)
            except _ClosedBeforeAnswer:
                continue
        try:
            connection = await _Connection.open(*place)
        except OSError as error:
            raise NoAnswer(_reason(error)) from error
        try:
            return await self._exchange(connection, request, body, idle)
        except _ClosedBeforeAnswer as error:
            raise NoAnswer("EOF") from error

    async def _exchange(
        self, connection: _Connection, request: h11.Request, body: bytes, idle: deque[_Connection]
    ) -> Response:
        reusable = False
        try:
            response = await connection.exchange(request, body)
            reusable = connection.renew()
        except (OSError, h11.ProtocolError) as error:
            if not connection.answered:
                raise _ClosedBeforeAnswer from error
            raise NoAnswer(_reason(error)) from error
        finally:
            if not reusable:
                connection.close()
        idle.append(connection)
        return response


class _ClosedBeforeAnswer(Exception):
    """The peer closed a kept connection before it answered: the request goes over a new one."""


class _Connection:
    """One connection, and the state of HTTP on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)
        self.answered = False

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        return cls(*await asyncio.open_connection(host, port))

    def is_stale(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()

    def renew(self) -> bool:
        """Make ready for another exchange; False if the connection cannot be kept."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self.is_stale()

    async def exchange(self, request: h11.Request, body: bytes) -> Response:
        self.answered = False
        sent = [self._http.send(request)]
        if body:
            sent.append(self._http.send(h11.Data(data=body)))
        sent.append(self._http.send(h11.EndOfMessage()))
        self._writer.write(b"".join(part for part in sent if part))
        await self._writer.drain()
        status, headers, chunks, size = 0, {}, [], 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(_READ_SIZE)
                self.answered = self.answered or bool(data)
                self._http.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {
                    name.decode("ascii"): value.decode("utf-8", "surrogateescape") for name, value in event.headers
                }
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > RESPONSE_LIMIT:
                    raise NoAnswer("the answer is too large")
                chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Response(status, headers, b"".join(chunks))
            elif not isinstance(event, h11.InformationalResponse):
                raise ConnectionResetError("EOF")


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    return str(error)[:200] or type(error).__name__
