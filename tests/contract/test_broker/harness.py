"""A broker in this process, and subscribers that answer by script and remember what they were sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from perdura.local.broker.delivery import Mode, Response
from perdura.local.broker.exchange import Client
from perdura.local.broker.journal import Journal, MemoryJournal
from perdura.local.broker.serve import serve
from perdura.local.broker.topology import build_topology


@dataclass(frozen=True)
class Received:
    """One request as a subscriber saw it; `at` is in seconds of the event loop's clock."""

    at: float
    method: str
    headers: Mapping[str, str]
    body: bytes


Script = Callable[[int, Received], Awaitable[Response]]


@dataclass
class Subscribers:
    """One server; each path is a subscriber of its own."""

    url: str = ""
    scripts: dict[str, Script] = field(default_factory=dict)
    received: dict[str, list[Received]] = field(default_factory=dict)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode("utf-8") for name, value in scope["headers"]}
        request = Received(asyncio.get_running_loop().time(), scope["method"], headers, body)
        seen = self.received.setdefault(scope["path"], [])
        seen.append(request)
        script = self.scripts.get(scope["path"])
        answer = await script(len(seen), request) if script else Response(204)
        named = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        if answer.status not in (204, 304):
            named.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": named})
        await send({"type": "http.response.body", "body": answer.body})

    def of(self, path: str) -> list[Received]:
        """What was sent to a path, in order of arrival."""
        return self.received.get(path, [])

    def answer(self, path: str, *answers: Response, delay: float = 0) -> str:
        """Make a path answer with each of these in turn, the last one repeating; its URL."""

        async def script(number: int, request: Received) -> Response:
            await asyncio.sleep(delay)
            return answers[min(number, len(answers)) - 1]

        self.scripts[path] = script
        return self.url + path


@contextlib.asynccontextmanager
async def subscribers() -> AsyncIterator[Subscribers]:
    """Subscribers that listen on a free port."""
    app = Subscribers()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, ws="none")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.001)
    app.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield app
    finally:
        server.should_exit = server.force_exit = True
        await serving


@dataclass(frozen=True)
class Broker:
    """A running broker."""

    url: str
    client: Client

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Send a request to it."""
        return await self.client.post(self.url + path, list(headers.items()), body, redirects=False)


@contextlib.asynccontextmanager
async def broker(
    documents: Sequence[dict[str, Any]], mode: Mode = Mode.MT, journal: Journal | None = None, **options: Any
) -> AsyncIterator[Broker]:
    """A broker that serves these manifests."""
    listening = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(
            build_topology(documents),
            mode,
            journal or MemoryJournal(),
            ready=listening.set_result,
            stop=stop,
            **options,
        )
    )
    await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    client = Client()
    try:
        yield Broker(listening.result(), client)
    finally:
        await client.aclose()
        stop.set()
        await serving


def a_broker(name: str = "br", **spec: Any) -> dict[str, Any]:
    """A Broker in the namespace `ns`."""
    metadata = {"namespace": "ns", "name": name}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": metadata, "spec": spec}


def a_trigger(name: str, uri: str, broker_name: str = "br", **spec: Any) -> dict[str, Any]:
    """A Trigger in the namespace `ns` whose subscriber is at `uri`."""
    metadata = {"namespace": "ns", "name": name}
    return {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": metadata,
        "spec": {"broker": broker_name, "subscriber": {"uri": uri}, **spec},
    }


def event_headers(event_type: str = "t", **attributes: str) -> dict[str, str]:
    """An event in binary mode."""
    defaults = {"specversion": "1.0", "id": "1", "source": "/s", "type": event_type}
    named = {f"ce-{name}": value for name, value in (defaults | attributes).items()}
    return named | {"content-type": "application/json"}


async def until(condition: Callable[[], bool], *, within: float = 20) -> None:
    """Wait until something that other tasks bring about is so."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.005)
