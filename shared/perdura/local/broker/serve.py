"""Runs the broker in one process: ingress, dispatcher and ticks on one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from perdura.local.broker.delivery import Mode
from perdura.local.broker.dispatcher import CONCURRENCY, Dispatcher
from perdura.local.broker.ingress import Ingress
from perdura.local.broker.journal import Journal
from perdura.local.broker.ticker import tick_for_ever
from perdura.local.broker.topology import Addresses, Topology

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """A server that leaves signals to us: uvicorn would raise them again when it is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    topology: Topology,
    mode: Mode,
    journal: Journal,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ticks: bool = True,
    services: Path | None = None,
    concurrency: int = CONCURRENCY,
    token: str | None = None,
    ready: Callable[[str], Any] = print,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`; `ready` is called with the URL once it listens.

    `token` is sent to subscribers, dead letter sinks and the sinks of ticks as their bearer token.

    Raises DatabaseUnavailable if the journal cannot be opened, OSError if the port is taken.
    """
    listener = socket.create_server((host, port), backlog=2048)
    url = f"http://{host}:{listener.getsockname()[1]}"
    addresses = Addresses(services)
    dispatcher = Dispatcher(topology, mode, journal, addresses, url=url, concurrency=concurrency, token=token)
    server = _Server(
        uvicorn.Config(
            Ingress(dispatcher),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            log_level="warning",
            log_config=None,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    stop = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
    await dispatcher.start()
    tasks = [loop.create_task(tick_for_ever(ping, addresses, token)) for ping in topology.pings if ticks]
    serving = loop.create_task(server.serve(sockets=[listener]))
    ready(url)
    stopping = loop.create_task(stop.wait())
    try:
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.should_exit = True
        closing = loop.create_task(dispatcher.close())
        await asyncio.gather(serving, return_exceptions=True)
        await closing
        stopping.cancel()
