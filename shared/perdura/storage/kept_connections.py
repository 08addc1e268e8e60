"""Connections to the object store that are kept open between requests, shared by threads."""

from __future__ import annotations

import http.client
import ssl
import threading
import time

BROKEN_TRANSPORT = (OSError, http.client.HTTPException)
"""What a broken or silent connection raises."""

_KEPT = 32
_IDLE_SECONDS = 20.0
_TIMEOUT = 60.0


class KeptConnections:
    """`ca` is a PEM file of authorities; without one those of the system count."""

    def __init__(self, ca: str | None = None) -> None:
        self._ca = ca
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, str], list[tuple[float, http.client.HTTPConnection]]] = {}
        self._tls: ssl.SSLContext | None = None

    def take(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        """A connection that was used a moment ago, or a new one."""
        fresh = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            idle = self._idle.get((scheme, netloc), [])
            while idle:
                used, connection = idle.pop()
                if used > fresh:
                    return connection
                connection.close()
        if scheme == "https":
            self._tls = self._tls or ssl.create_default_context(cafile=self._ca)
            return http.client.HTTPSConnection(netloc, timeout=_TIMEOUT, context=self._tls)
        return http.client.HTTPConnection(netloc, timeout=_TIMEOUT)

    def give_back(self, connection: http.client.HTTPConnection, scheme: str, netloc: str, reusable: bool) -> None:
        """Keep a connection whose answer was read to its end; any other is closed."""
        with self._lock:
            idle = self._idle.setdefault((scheme, netloc), [])
            if reusable and connection.sock is not None and len(idle) < _KEPT:
                idle.append((time.monotonic(), connection))
                return
        connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            connections = [connection for idle in self._idle.values() for _, connection in idle]
            self._idle.clear()
        for connection in connections:
            connection.close()
