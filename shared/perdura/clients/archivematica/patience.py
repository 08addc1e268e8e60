"""Connections whose answers have to come within a time as a whole, however slowly they trickle.

httpx bounds single reads only: a byte now and then would hold an invocation until it is killed.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from perdura.storage.timed import TimeUp

_SLICE = 1.0
"""Seconds after which it is asked again whether there is time to wait."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    until: float = float("inf")
    near: Callable[[], bool] = lambda: False


_UNBOUNDED = _Bounds()
_bounds: ContextVar[_Bounds] = ContextVar("bounds", default=_UNBOUNDED)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Have all reads of this block come to an end in so many seconds together: what follows times out."""
    yield from _bounded(_Bounds(time.monotonic() + seconds, _bounds.get().near))


@contextmanager
def while_there_is_time(near: Callable[[], bool]) -> Iterator[None]:
    """Have reads of this block raise TimeUp when `near` says that time is up, also while they wait."""
    yield from _bounded(_Bounds(_bounds.get().until, near))


def _bounded(bounds: _Bounds) -> Iterator[None]:
    before = _bounds.set(bounds)
    try:
        yield
    finally:
        _bounds.reset(before)


class PatientTransport(httpx.HTTPTransport):
    """The transport of httpx over such connections."""

    def __init__(self, verify: ssl.SSLContext) -> None:
        super().__init__(verify=verify, trust_env=False)
        self._pool = httpcore.ConnectionPool(ssl_context=verify, keepalive_expiry=5.0, network_backend=_Backend())


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(self, *given: Any, **more: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_tcp(*given, **more))

    def connect_unix_socket(self, *given: Any, **more: Any) -> httpcore.NetworkStream:
        return _Stream(self._inner.connect_unix_socket(*given, **more))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        bounds = _bounds.get()
        until = min(bounds.until, time.monotonic() + timeout) if timeout is not None else bounds.until
        while (left := until - time.monotonic()) > 0:
            if bounds.near():
                raise TimeUp
            try:
                return self._inner.read(max_bytes, min(left, _SLICE))
            except httpcore.ReadTimeout:
                continue
        raise httpcore.ReadTimeout("the answer came too slowly")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
