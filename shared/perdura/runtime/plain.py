"""HTTP/1.1 requests in their plainest form, read in a fraction of the time that any request may take.

Clients that write event after event send the same few lines each time. A request is plain when its head is written
as RFC 9112 (3 and 5) would have it, without anything that only some servers understand alike, and when all of it has
come. Everything else is left to gunicorn's parser, untouched: nothing is refused here.
"""

from __future__ import annotations

import io
import re
import select
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gunicorn.http import wsgi
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.util import unquote_to_wsgi_str

LINGER = 3
"""Milliseconds that the next part of a request, or the next request of a connection, is waited for."""

LARGEST = 65_536
"""Bytes of a plain request, with its body."""

_LONGEST_HEAD = 4_000
_MOST_FIELDS = 64
_RECEIVED = 65_536
_HEAD = re.compile(
    rb"(GET|POST) (/(?:[!\"$-.0-~][!\"$-~]*)?) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+: *[!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_LENGTH = re.compile("[0-9]{1,5}")
_NOT_PLAIN = frozenset(("EXPECT", "HTTP2-SETTINGS", "TE", "TRAILER", "TRANSFER-ENCODING", "UPGRADE"))


class Plain:
    """A plain request, of which gunicorn asks what it asks of its own."""

    __slots__ = ("body", "environ", "method", "query", "uri")

    version = (1, 1)
    headers = ()

    def __init__(self, environ: dict[str, Any], body: bytes) -> None:
        self.environ = environ
        self.method = environ["REQUEST_METHOD"]
        self.uri, self.query = environ["RAW_URI"], environ["QUERY_STRING"]
        self.body = environ["wsgi.input"] = io.BytesIO(body)

    def should_close(self) -> bool:
        """Whether the connection ends with it: a plain request never says so."""
        return False


class PlainParser(RequestParser):  # type: ignore[misc]
    """The parser of gunicorn; from the second request of a connection on, those that are plain are read here."""

    mesg: Any

    def __init__(self, cfg: Any, connection: Any, client: Any, server: Any) -> None:
        super().__init__(cfg, connection, client)
        self._addresses = (client, server)
        self._schemes: Mapping[str, str] = {}
        self._constant: dict[str, Any] | None = None

    def finish_body(self, deadline: float | None = None, max_bytes: int | None = None) -> bool:
        """Discard what is left of a body; whether the next request begins where that ends."""
        return isinstance(self.mesg, Plain) or bool(super().finish_body(deadline, max_bytes))

    def __next__(self) -> Request | Plain:
        """The next request. Raises what gunicorn's parser raises."""
        if self._constant is None:
            if self.mesg is None or not self._settle(self.mesg):
                return super().__next__()
        elif not isinstance(self.mesg, Plain) and (self.mesg.should_close() or not self.finish_body()):
            return super().__next__()
        data = self.unreader.take_buffered() or self.unreader.sock.recv(_RECEIVED)
        found = self._plain(data)
        if found is not None:
            self.req_count += 1
            self.mesg = found
            return found
        return super().__next__()

    def _settle(self, first: Request) -> bool:
        """Learn from the first request what is the same for all of the connection; whether any of them can be plain."""
        client, server = self._addresses
        if first.should_close() or first.proxy_protocol_info or not self.finish_body():
            return False
        trusted, _ = first._peer_trusted_for_forwarded()
        self._schemes = {_key(name): secure for name, secure in trusted.items()}
        self._constant = {
            **wsgi.base_environ(self.cfg),
            "gunicorn.socket": self.unreader.sock,
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": client[0],
            "REMOTE_PORT": str(client[1]),
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "SCRIPT_NAME": "",
        }
        return True

    def _plain(self, data: bytes) -> Plain | None:
        """The request that bytes of the connection begin with, if it is plain; whatever is not used is put back."""
        while True:
            end = data.find(b"\r\n\r\n", 0, _LONGEST_HEAD) + 4
            found = _HEAD.fullmatch(data, 0, end) if end > 3 else None
            read = None if found is None else self._read(*found.groups())
            more = b""
            if read is not None:
                whole = end + int(read.get("CONTENT_LENGTH", 0))
                if whole <= len(data):
                    if whole < len(data):
                        self.unreader.unread(data[whole:])
                    return Plain(read, data[end:whole])
                if whole <= LARGEST and self.readable():
                    more = self.unreader.sock.recv(_RECEIVED)
            if not more:
                self.unreader.unread(data)
                return None
            data += more

    def _read(self, method: bytes, target: bytes, fields: bytes) -> dict[str, Any] | None:
        """The WSGI environment of a head, None if it is not plain."""
        constant = self._constant
        lines = fields.decode("ascii").split("\r\n")
        if constant is None or len(lines) > _MOST_FIELDS:
            return None
        environ = constant.copy()
        for line in lines[:-1]:
            name, _, value = line.partition(":")
            key = _key(name)
            if not key or key in environ:
                return None
            environ[key] = value.strip(" ")
        if environ.get("HTTP_CONNECTION", "keep-alive").lower() != "keep-alive":
            return None
        length = environ.get("CONTENT_LENGTH")
        if (length is None) is (method == b"POST") or (length is not None and _LENGTH.fullmatch(length) is None):
            return None
        schemes = [environ[key] == secure for key, secure in self._schemes.items() if key in environ]
        if schemes:
            if len(schemes) > 1:
                return None
            environ["wsgi.url_scheme"] = "https" if schemes[0] else "http"
        uri = target.decode("ascii")
        path, _, query = uri.partition("?")
        environ["REQUEST_METHOD"] = method.decode("ascii")
        environ["RAW_URI"] = uri
        environ["PATH_INFO"] = unquote_to_wsgi_str(path) if "%" in path else path
        environ["QUERY_STRING"] = query
        return environ

    def readable(self) -> bool:
        """Whether something comes soon."""
        waiting = select.poll()
        waiting.register(self.unreader.sock, select.POLLIN)
        return bool(waiting.poll(LINGER))


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    """The name of a field in the WSGI environment; empty for one that is never plain."""
    upper = name.upper()
    if upper in _NOT_PLAIN:
        return ""
    mapped = upper.replace("-", "_")
    return mapped if upper in ("CONTENT-LENGTH", "CONTENT-TYPE") else f"HTTP_{mapped}"
