"""The ingress answers as the recorded one of Knative Eventing 1.22.2."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
import pytest

from perdura.local.broker.delivery import Mode, Response
from perdura.local.broker.ingress import EVENT_LIMIT
from tests.contract.test_broker.harness import a_broker, a_trigger, broker, event_headers, subscribers, until
from tests.shared_data import SHARED, reference_data

CASES: list[dict[str, Any]] = json.loads(reference_data("knative-oracle", "ingress.json").read_text()) if SHARED else []


async def request(url: str, method: str, target: str, headers: dict[str, str], body: bytes) -> Response:
    """One request exactly as given, over a connection of its own."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    http = h11.Connection(h11.CLIENT)
    named = [("host", "x"), ("content-length", str(len(body))), *headers.items()]
    writer.write(http.send(h11.Request(method=method, target=target, headers=named)) or b"")
    writer.write(http.send(h11.Data(data=body)) or b"")
    status, answered = 0, {}
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
            answered = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
            break
    writer.close()
    return Response(status, answered)


@pytest.fixture(scope="module")
def recorded() -> dict[str, tuple[Response, int]]:
    """For each case the answer and how often its event was delivered; all sent to one broker."""

    async def run() -> dict[str, tuple[Response, int]]:
        outcome = {}
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("all", peers.url + "/all")]
            async with broker(manifests) as running:
                for case in CASES:
                    before = len(peers.of("/all"))
                    answer = await request(
                        running.url, case["method"], case["path"], case["headers"], case["body"].encode()
                    )
                    if case["delivered"]:
                        await until(lambda before=before: len(peers.of("/all")) > before)  # type: ignore[misc]
                    outcome[case["case"]] = (answer, len(peers.of("/all")) - before)
        return outcome

    return asyncio.run(run())


@pytest.mark.skipif(not CASES, reason="reference data (../shared) is not here")
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["case"]))
def test_recorded(case: dict[str, Any], recorded: dict[str, tuple[Response, int]]) -> None:
    answer, delivered = recorded[case["case"]]
    assert answer.status == case["status"]
    assert answer.headers.get("allow") == case["allow"]
    assert delivered == case["delivered"]


def test_consent_to_webhooks() -> None:
    async def run() -> Response:
        async with broker([a_broker()]) as running:
            return await request(running.url, "OPTIONS", "/ns/br", {"webhook-request-origin": "x"}, b"")

    answer = asyncio.run(run())
    assert answer.headers["webhook-allowed-origin"] == "*"
    assert answer.headers["webhook-allowed-rate"] == "*"


@pytest.mark.parametrize(
    ("mode", "method", "target", "status"),
    [
        (Mode.RABBITMQ, "POST", "/", 202),
        (Mode.RABBITMQ, "POST", "/ns/br", 202),
        (Mode.RABBITMQ, "POST", "/x", 404),
        (Mode.RABBITMQ, "OPTIONS", "/ns/br", 405),
        (Mode.RABBITMQ, "GET", "/", 405),
        (Mode.KAFKA, "POST", "/ns/br", 202),
        (Mode.KAFKA, "OPTIONS", "/ns/br", 405),
        (Mode.SYNC, "POST", "/ns/br", 202),
    ],
)
def test_other_brokers(mode: Mode, method: str, target: str, status: int) -> None:
    async def run() -> Response:
        async with broker([a_broker()], mode) as running:
            return await request(running.url, method, target, event_headers(), b"{}")

    assert asyncio.run(run()).status == status


def test_state_and_health() -> None:
    async def run() -> tuple[Response, Response]:
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("all", peers.url + "/all")]
            async with broker(manifests) as running:
                await running.post("/ns/br", event_headers(), b"{}")
                await until(lambda: bool(peers.of("/all")))
                health = await running.client._request("GET", running.url + "/healthz", [], b"")
                status = await running.client._request("GET", running.url + "/status", [], b"")
                return health, status

    health, status = asyncio.run(run())
    assert health.status == 200
    state = json.loads(status.body)
    assert state["mode"] == "mt"
    assert state["brokers"] == ["ns/br"]
    assert state["accepted"] == 1
    assert state["dead"] == 0


def test_large_events_are_refused() -> None:
    async def run() -> list[int]:
        async with broker([a_broker()]) as running:
            answers = [await running.post("/ns/br", event_headers(), bytes(size)) for size in (2**20, EVENT_LIMIT + 1)]
            return [answer.status for answer in answers]

    assert asyncio.run(run()) == [202, 413]


def test_what_a_subscriber_is_sent() -> None:
    async def run() -> dict[str, str]:
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("all", peers.url + "/all")]
            async with broker(manifests) as running:
                headers = {
                    "content-type": "application/cloudevents+json",
                    "x-request-id": "r",
                    "knative-x": "k",
                    "x-b3-traceid": "b",
                    "authorization": "Bearer secret",
                }
                body = '{"specversion":"1.0","id":"1","type":"t","source":"/s","subject":"é%2F","data":{"a" : 1}}'
                await running.post("/ns/br", headers, body.encode())
                await until(lambda: bool(peers.of("/all")))
                [received] = peers.of("/all")
                assert received.body == b'{"a" : 1}'
                return dict(received.headers)

    headers = asyncio.run(run())
    assert headers.pop("ce-knativearrivaltime")
    for name in ("host", "content-length"):
        headers.pop(name)
    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-type": "t",
        "ce-source": "/s",
        "ce-subject": "é%2F",
        "prefer": "reply",
        "kn-namespace": "ns",
        "x-request-id": "r",
        "knative-x": "k",
        "x-b3-traceid": "b",
    }
