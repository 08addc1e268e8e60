"""PingSources: a CloudEvent at each time of a schedule, straight to its sink (serverless.md §1.9)."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from uuid import uuid4

from perdura.local.broker.envelope import Envelope, binary, now
from perdura.local.broker.exchange import Client, NoAnswer
from perdura.local.broker.topology import Addresses, NoAddress, Ping

log = logging.getLogger(__name__)

TYPE = "dev.knative.sources.ping"
RETRIES = 5
FIRST_GAP = 0.05
TIMEOUT = 600.0


async def tick_for_ever(ping: Ping, addresses: Addresses, token: str | None = None) -> None:
    """Send the ticks of one PingSource until cancelled.

    A tick that falls due while the last one is still being worked on is left out: on a single machine that would
    only pile up requests, and the work it asks for is being done.
    """
    client = Client(token)
    loop = asyncio.get_running_loop()
    try:
        while (due := ping.schedule.after(datetime.now(UTC))) is not None:
            arrived = loop.create_future()
            timer = loop.call_later((due - datetime.now(UTC)).total_seconds(), arrived.set_result, None)
            try:
                await arrived
            finally:
                timer.cancel()
            await _send(client, ping, addresses)
    finally:
        await client.aclose()


async def _send(client: Client, ping: Ping, addresses: Addresses) -> None:
    attributes = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": ping.source,
        "type": TYPE,
        "time": now(),
        **ping.extensions,
    }
    if ping.content_type is not None:
        attributes["datacontenttype"] = ping.content_type
    event = Envelope(attributes, ping.data)
    for attempt in range(RETRIES + 1):
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await client.post(addresses.resolve(ping.sink), binary(event), event.body, redirects=False)
            if response.status < 500 and response.status not in (404, 408, 409, 429):
                return
            reason = f"status {response.status}"
        except NoAddress:
            return
        except (NoAnswer, TimeoutError) as error:
            reason = str(error) or "timeout"
        if attempt < RETRIES:
            await asyncio.sleep(FIRST_GAP * 2**attempt)
    log.info("tick of %s was lost: %s", ping.name, reason)
