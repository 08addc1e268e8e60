"""The HTTP face of the broker: `/<namespace>/<broker>` as Knative's ingress (serverless.md §1.4), and its state."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from perdura.cloudevents.attributes import NotACloudEvent
from perdura.errors import DatabaseUnavailable
from perdura.local.broker.delivery import Mode
from perdura.local.broker.dispatcher import Dispatcher, TtlUsedUp
from perdura.local.broker.envelope import parse

EVENT_LIMIT = 10 * 2**20
"""Largest event in bytes; Kafka's own default is a tenth of it."""

_KAFKA_LIMIT = 2**20
_ALLOW = (b"allow", b"POST, OPTIONS")
_CONSENT = ((b"webhook-allowed-origin", b"*"), (b"webhook-allowed-rate", b"*"))

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class TooLarge(Exception):
    """A request body beyond the limit."""


class Ingress:
    """An ASGI application in front of a dispatcher."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._mode = dispatcher.mode
        self._limit = _KAFKA_LIMIT if self._mode is Mode.KAFKA else EVENT_LIMIT

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        path = scope["raw_path"].decode("latin-1")
        if scope["method"] in ("GET", "HEAD") and path in ("/healthz", "/status"):
            body = json.dumps(await self._status() if path == "/status" else {"status": "ok"}).encode("ascii")
            await _answer(send, 200, [(b"content-type", b"application/json")], body)
            return
        status, headers = await self._take(scope, path, receive)
        await _answer(send, status, [_ALLOW, *headers])

    async def _take(
        self, scope: Mapping[str, Any], path: str, receive: Receive
    ) -> tuple[int, tuple[tuple[bytes, bytes], ...]]:
        if scope["method"] == "OPTIONS" and self._mode.is_channel_based:
            return 200, _CONSENT
        if scope["method"] != "POST":
            return 405, ()
        query = scope["query_string"].decode("latin-1")
        uri = f"{path}?{query}" if query else path
        broker = self._broker(uri)
        if isinstance(broker, int):
            return broker, ()
        try:
            headers = {
                name.decode("latin-1"): value.decode("utf-8", "surrogateescape") for name, value in scope["headers"]
            }
            event = parse(headers, await self._read(receive))
            if broker not in self._dispatcher.topology.brokers:
                return 404, ()
            delivered = await self._dispatcher.accept(broker, event)
        except (NotACloudEvent, TtlUsedUp):
            return 400, ()
        except TooLarge:
            return 413, ((b"connection", b"close"),)
        except DatabaseUnavailable:
            return 503, ((b"retry-after", b"1"),)
        return (202 if delivered else 500), ()

    def _broker(self, uri: str) -> str | int:
        """`<namespace>/<broker>` of a request URI, or the status that refuses it."""
        if uri == "/":
            brokers = self._dispatcher.topology.brokers
            return next(iter(brokers)) if self._mode is Mode.RABBITMQ and len(brokers) == 1 else 404
        parts = uri.removesuffix("/").split("/")
        if len(parts) != 3:
            return 404 if self._mode is Mode.RABBITMQ else 400
        return f"{parts[1]}/{parts[2]}"

    async def _read(self, receive: Receive) -> bytes:
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise NotACloudEvent("the request ended early")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                raise TooLarge
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)

    async def _status(self) -> dict[str, Any]:
        try:
            dead: int | None = await self._dispatcher.count_dead()
        except DatabaseUnavailable:
            dead = None
        return {
            "mode": self._mode.value,
            "brokers": sorted(self._dispatcher.topology.brokers),
            **self._dispatcher.status(),
            "dead": dead,
        }


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode("ascii"))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
