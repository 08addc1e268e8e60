"""Delivery as it was recorded from Knative's channel-based broker and from the RabbitMQ broker."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest

from perdura.local.broker.delivery import Mode, Response
from tests.contract.test_broker.harness import (
    Broker,
    Received,
    Subscribers,
    a_broker,
    a_trigger,
    broker,
    event_headers,
    subscribers,
    until,
)
from tests.shared_data import SHARED, reference_data


def cases(name: str) -> list[dict[str, Any]]:
    return json.loads(reference_data("knative-oracle", name).read_text()) if SHARED else []


MT = cases("delivery.json")
RABBITMQ = cases("rabbitmq-delivery.json")
needs_recordings = pytest.mark.skipif(not MT, reason="reference data (../shared) is not here")


@dataclass(frozen=True)
class Outcome:
    """What the peers of one case saw."""

    subscriber_url: str
    broker_url: str
    accepted: int
    attempts: list[Received]
    dead_letters: list[Received]
    replies: list[Received]

    @property
    def gaps(self) -> list[float]:
        times = [request.at for request in self.attempts]
        return [after - before for before, after in itertools.pairwise(times)]


async def replay(mode: Mode, recorded: list[dict[str, Any]]) -> list[Outcome]:
    """All cases at once, each on a Broker of its own."""
    async with subscribers() as peers:
        manifests = []
        for number, case in enumerate(recorded):
            prepare(peers, manifests, number, case, catch_all=mode is Mode.RABBITMQ)
        async with broker(manifests, mode) as running:
            return await asyncio.gather(
                *(observe(running, peers, number, case) for number, case in enumerate(recorded))
            )


def prepare(
    peers: Subscribers, manifests: list[dict[str, Any]], number: int, case: dict[str, Any], *, catch_all: bool
) -> None:
    answers = [
        Response(
            answer["status"],
            {name: value.replace("{other}", peers.url + "/other") for name, value in answer["headers"].items()},
            answer["body"].encode(),
        )
        for answer in case["responses"]
    ]
    delay = max((answer.get("delay_s", 0) for answer in case["responses"]), default=0)
    uri = case.get("subscriber_uri") or peers.answer(f"/fn{number}", *answers, delay=delay)
    if catch_all:
        script = peers.scripts[f"/fn{number}"]

        async def replies_are_taken(count: int, request: Received) -> Response:
            return Response(204) if request.headers["ce-type"] == "reply.t" else await script(count, request)

        peers.scripts[f"/fn{number}"] = replies_are_taken
    delivery = json.loads(json.dumps(case["delivery"]).replace("{dls}", f"{peers.url}/dls{number}"))
    only = {} if catch_all else {"filters": [{"exact": {"type": "t"}}]}
    manifests.append(a_broker(f"br{number}"))
    manifests.append(a_trigger(f"fn{number}", uri, f"br{number}", delivery=delivery, **only))
    if not catch_all:
        reply = {"filters": [{"exact": {"type": "reply.t"}}]}
        manifests.append(a_trigger(f"reply{number}", f"{peers.url}/reply{number}", f"br{number}", **reply))


async def observe(running: Broker, peers: Subscribers, number: int, case: dict[str, Any]) -> Outcome:
    answer = await running.post(f"/ns/br{number}", event_headers(id=f"E{number}"), b'{"a":1}')
    to_subscriber = f"/fn{number}"

    def outcome() -> Outcome:
        seen = peers.of(to_subscriber)
        replies = [request for request in seen if request.headers["ce-type"] == "reply.t"]
        return Outcome(
            case.get("subscriber_uri") or peers.url + to_subscriber,
            f"{running.url}/ns/br{number}",
            answer.status,
            [request for request in seen if request not in replies],
            peers.of(f"/dls{number}"),
            replies + peers.of(f"/reply{number}"),
        )

    def is_as_recorded() -> bool:
        now = outcome()
        return (len(now.attempts), len(now.dead_letters), len(now.replies)) == (
            case["attempts"],
            case["dls"],
            case["reply_routed"],
        )

    await until(is_as_recorded)
    await asyncio.sleep(0.5)
    return outcome()


@pytest.fixture(scope="module")
def mt() -> dict[str, Outcome]:
    outcomes = asyncio.run(replay(Mode.MT, MT))
    return {case["case"]: outcome for case, outcome in zip(MT, outcomes, strict=True)}


@pytest.fixture(scope="module")
def rabbitmq() -> dict[str, Outcome]:
    outcomes = asyncio.run(replay(Mode.RABBITMQ, RABBITMQ))
    return {case["case"]: outcome for case, outcome in zip(RABBITMQ, outcomes, strict=True)}


def check(case: dict[str, Any], outcome: Outcome, gaps: list[float]) -> None:
    assert len(outcome.attempts) == case["attempts"]
    assert len(outcome.dead_letters) == case["dls"]
    assert len(outcome.replies) == case["reply_routed"]
    # How late a request arrives depends on the machine; exact gaps are tested without one, in test_topology.
    assert all(gap > recorded / 2 for gap, recorded in zip(outcome.gaps, gaps, strict=True))
    for letter in outcome.dead_letters:
        found = {name: value for name, value in letter.headers.items() if name.startswith("ce-knativeerror")}
        expected = dict(case["dls_ext"])
        recorded_url = expected.pop("ce-knativeerrordest", None)
        if recorded_url is not None:
            at_broker = recorded_url.endswith("/ns/br")
            url = outcome.broker_url if at_broker else outcome.subscriber_url
            assert found.pop("ce-knativeerrordest") == url
        if "subscriber_uri" in case:
            assert base64.b64decode(found.pop("ce-knativeerrordata")).startswith(b"dispatch error: Post ")
            del expected["ce-knativeerrordata"]
        assert found == expected
        assert letter.headers["ce-id"].startswith("E")
        assert "prefer" not in letter.headers


@needs_recordings
@pytest.mark.parametrize("case", MT, ids=lambda case: str(case["case"]))
def test_recorded_of_the_channel_based_broker(case: dict[str, Any], mt: dict[str, Outcome]) -> None:
    check(case, mt[case["case"]], case["intervals"])


@needs_recordings
@pytest.mark.parametrize("case", RABBITMQ, ids=lambda case: str(case["case"]))
def test_recorded_of_the_rabbitmq_broker(case: dict[str, Any], rabbitmq: dict[str, Outcome]) -> None:
    outcome = rabbitmq[case["case"]]
    assert outcome.accepted == case["ingress"]
    check(case, outcome, case["gaps"])
    assert all("prefer" not in request.headers for request in outcome.attempts)
    assert all("ce-time" in request.headers for request in outcome.attempts)


KAFKA = [
    ("non-event body", Response(200, {"content-type": "text/html"}, b"OK"), 1, {"dest"}),
    ("malformed reply", Response(200, {"ce-specversion": "1.0"}, b"{}"), 1, {"dest"}),
    ("client error", Response(400, {"kne-why": "because"}, b"x" * 2000), 1, {"dest", "code", "data"}),
    ("redirect", Response(302, {"location": "/other"}), 1, {"dest", "code", "data"}),
    ("server error", Response(503), 3, {"dest", "code", "data"}),
]


@pytest.mark.parametrize(("answer", "attempts", "extensions"), [case[1:] for case in KAFKA], ids=[c[0] for c in KAFKA])
def test_the_kafka_broker(answer: Response, attempts: int, extensions: set[str]) -> None:
    """As its source has it (serverless.md 1.6): it was not recorded."""

    async def run() -> tuple[list[Received], Received]:
        async with subscribers() as peers:
            uri = peers.answer("/fn", answer)
            delivery = {"retry": 2, "backoffDelay": "PT0.01S", "deadLetterSink": {"uri": peers.url + "/dls"}}
            async with broker([a_broker(), a_trigger("fn", uri, delivery=delivery)], Mode.KAFKA) as running:
                await running.post("/ns/br", event_headers(), b"{}")
                await until(lambda: bool(peers.of("/dls")))
                return peers.of("/fn"), peers.of("/dls")[0]

    seen, letter = asyncio.run(run())
    assert len(seen) == attempts
    prefix = "ce-knativeerror"
    assert {name.removeprefix(prefix) for name in letter.headers if name.startswith(prefix)} == extensions
    assert letter.headers.get("ce-why") == answer.headers.get("kne-why")
    assert len(letter.headers.get("ce-knativeerrordata", "")) <= 1024


def test_the_synchronous_channel_makes_the_producer_wait() -> None:
    async def run() -> tuple[int, int, int, int]:
        async with subscribers() as peers:
            uri = peers.answer("/fn", Response(204), delay=0.05)
            failing = peers.answer("/bad", Response(500))
            gone = a_trigger("bad", failing, "broken", delivery={"retry": 1, "backoffDelay": "PT0.01S"})
            manifests = [a_broker(), a_trigger("fn", uri), a_broker("broken"), gone]
            async with broker(manifests, Mode.SYNC) as running:
                good = await running.post("/ns/br", event_headers(), b"{}")
                seen = len(peers.of("/fn"))
                bad = await running.post("/ns/broken", event_headers(), b"{}")
                return good.status, seen, bad.status, len(peers.of("/bad"))

    assert asyncio.run(run()) == (202, 1, 500, 2)


def test_a_reply_chain_is_part_of_a_synchronous_delivery() -> None:
    async def run() -> tuple[int, int]:
        async with subscribers() as peers:
            reply = Response(200, event_headers("second"), b"{}")
            first = a_trigger("one", peers.answer("/one", reply), filters=[{"exact": {"type": "t"}}])
            second = a_trigger("two", peers.url + "/two", filters=[{"exact": {"type": "second"}}])
            async with broker([a_broker(), first, second], Mode.SYNC) as running:
                answer = await running.post("/ns/br", event_headers(), b"{}")
                return answer.status, len(peers.of("/two"))

    assert asyncio.run(run()) == (202, 1)


@pytest.mark.parametrize("mode", [Mode.MT, Mode.SYNC])
def test_the_ttl_ends_a_reply_loop(mode: Mode) -> None:
    async def run() -> tuple[list[Received], list[Received], str]:
        async with subscribers() as peers:
            loop = Response(200, event_headers("t", id="again"), b"{}")
            delivery = {"retry": 0, "deadLetterSink": {"uri": peers.url + "/dls"}}
            manifests = [a_broker(), a_trigger("loop", peers.answer("/fn", loop), delivery=delivery)]
            async with broker(manifests, mode) as running:
                await running.post("/ns/br", event_headers(knativebrokerttl="10"), b"{}")
                await until(lambda: bool(peers.of("/dls")))
                return peers.of("/fn"), peers.of("/dls"), running.url

    deliveries, [letter], url = asyncio.run(run())
    assert len(deliveries) == 9
    assert all("ce-knativebrokerttl" not in request.headers for request in deliveries)
    assert letter.headers["ce-knativeerrordest"] == f"{url}/ns/br"
    assert letter.headers["ce-knativeerrorcode"] == "400"


@pytest.mark.parametrize("ttl", ["--5", "+-5", "", "five", "9" * 5000])
def test_a_ttl_that_is_no_number_begins_anew(ttl: str) -> None:
    async def run() -> int:
        async with broker([a_broker()], Mode.MT) as running:
            answer = await running.post("/ns/br", event_headers(knativebrokerttl=ttl), b"{}")
            return answer.status

    assert asyncio.run(run()) == 202


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (307, "POST")])
def test_redirects_are_followed_by_the_channel_based_broker(status: int, method: str) -> None:
    async def run() -> list[Received]:
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("fn", peers.answer("/fn", Response(status, {"location": "/other"})))]
            async with broker(manifests) as running:
                await running.post("/ns/br", event_headers(), b"{}")
                await until(lambda: bool(peers.of("/other")))
                return peers.of("/other")

    [request] = asyncio.run(run())
    assert request.method == method


def test_subscribers_and_dead_letter_sinks_are_shown_the_token_and_nobody_else_is() -> None:
    async def run() -> dict[str, list[str | None]]:
        async with subscribers() as peers:
            elsewhere = Response(307, {"location": "/elsewhere"})
            sink = {"deadLetterSink": {"uri": peers.answer("/dls", Response(204))}, "retry": 0}
            manifests = [
                a_broker(),
                a_trigger("fn", peers.answer("/fn", elsewhere)),
                a_trigger("broken", peers.answer("/broken", Response(400)), delivery=sink),
            ]
            async with broker(manifests, token="s3cret") as running:
                await running.post("/ns/br", event_headers(), b"{}")
                await until(lambda: bool(peers.of("/elsewhere") and peers.of("/dls")))
                paths = ("/fn", "/elsewhere", "/broken", "/dls")
                return {path: [request.headers.get("authorization") for request in peers.of(path)] for path in paths}

    shown = asyncio.run(run())
    assert shown == {
        "/fn": ["Bearer s3cret"],
        "/elsewhere": [None],
        "/broken": ["Bearer s3cret"],
        "/dls": ["Bearer s3cret"],
    }


@pytest.mark.parametrize("ttl", ["--5", "+-1", "1_0", "٣", "9" * 5000, "x", ""])
def test_a_number_of_hops_that_is_none_counts_as_absent(ttl: str) -> None:
    async def run() -> tuple[int, str]:
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("fn", peers.url + "/fn")]
            async with broker(manifests) as running:
                answer = await running.post("/ns/br", event_headers(knativebrokerttl=ttl), b"{}")
                await until(lambda: bool(peers.of("/fn")))
                return answer.status, peers.of("/fn")[0].headers.get("ce-knativebrokerttl", "")

    assert asyncio.run(run()) == (202, "")


def test_a_delivery_of_a_trigger_replaces_that_of_its_broker() -> None:
    async def run() -> tuple[int, int]:
        async with subscribers() as peers:
            uri = peers.answer("/fn", Response(500))
            of_broker = {"retry": 5, "backoffDelay": "PT0.01S", "deadLetterSink": {"uri": peers.url + "/dls"}}
            own = {"retry": 1, "backoffDelay": "PT0.01S"}
            manifests = [a_broker(delivery=of_broker), a_trigger("fn", uri, delivery=own)]
            async with broker(manifests) as running:
                await running.post("/ns/br", event_headers(), b"{}")
                await until(lambda: len(peers.of("/fn")) == 2)
                await asyncio.sleep(0.3)
                return len(peers.of("/fn")), len(peers.of("/dls"))

    assert asyncio.run(run()) == (2, 0)


def test_a_slow_subscriber_holds_up_nobody_else() -> None:
    async def run() -> int:
        async with subscribers() as peers:
            slow = a_trigger("slow", peers.answer("/slow", Response(204), delay=0.8))
            manifests = [a_broker(), slow, a_trigger("quick", peers.url + "/quick")]
            async with broker(manifests, concurrency=2) as running:
                for number in range(20):
                    await running.post("/ns/br", event_headers(id=str(number)), b"{}")
                await until(lambda: len(peers.of("/quick")) == 20)
                return len(peers.of("/slow"))

    assert asyncio.run(run()) == 2


def test_structured_format() -> None:
    async def run() -> Received:
        async with subscribers() as peers:
            manifests = [a_broker(), a_trigger("fn", peers.url + "/fn", delivery={"format": "json"})]
            async with broker(manifests) as running:
                await running.post("/ns/br", event_headers(), b'{"a":1}')
                await until(lambda: bool(peers.of("/fn")))
                return peers.of("/fn")[0]

    request = asyncio.run(run())
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert json.loads(request.body)["data"] == {"a": 1}
