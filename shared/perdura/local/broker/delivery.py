"""What follows from an answer: delivered, reply, retry, dead letter, dropped; pure of I/O.

The three brokers differ (serverless.md §1.6); each difference is here and nowhere else.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

from perdura.cloudevents.attributes import NotACloudEvent
from perdura.errors import Broken
from perdura.local.broker.envelope import Envelope, is_reply, parse

RETRIED = frozenset({404, 408, 409, 429})
ERROR_DATA_LIMIT = 768
"""Bytes of an answer that a dead letter carries: 1024 characters of base64 (serverless.md §0.4)."""

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z")


class Mode(StrEnum):
    """Whose behaviour is reproduced. `sync` is `mt` with its synchronous channel: the producer waits."""

    MT = "mt"
    RABBITMQ = "rabbitmq"
    KAFKA = "kafka"
    SYNC = "sync"

    @property
    def is_channel_based(self) -> bool:
        """Whether it is Knative's multi-tenant channel-based broker."""
        return self in (Mode.MT, Mode.SYNC)


ATTEMPT_TIMEOUT = {Mode.MT: 900.0, Mode.SYNC: 900.0, Mode.RABBITMQ: 1800.0, Mode.KAFKA: 600.0}
"""Seconds that an attempt may take when the delivery sets no `timeout`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """`spec.delivery` of a Broker or Trigger; durations in seconds."""

    retry: int = 0
    exponential: bool = True
    backoff_delay: float | None = None
    timeout: float | None = None
    structured: bool = False
    dead_letter_sink: Mapping[str, Any] | None = None

    def gap(self, mode: Mode, attempts: int) -> float:
        """Seconds to wait after that many failed attempts."""
        if self.backoff_delay is None:
            return 0.05 * 2**attempts if mode is Mode.RABBITMQ else 0.0
        if self.exponential:
            return self.backoff_delay * float(2 ** (attempts - 1 if mode.is_channel_based else attempts))
        return self.backoff_delay * (attempts - 1 if mode.is_channel_based else attempts)


DEFAULT_DELIVERY = Delivery(retry=10, backoff_delay=0.2)
"""What Knative's `config-br-defaults` gives a Broker without a delivery of its own (serverless.md §1.5)."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a subscriber answered; header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Nothing more to do. `dropped` tells that the event was acknowledged without having been processed."""

    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Replied:
    """Delivered, and an event came back. `event` is None when the broker's own ingress would refuse it."""

    event: Envelope | None


@dataclass(frozen=True, slots=True)
class Failed:
    """Not delivered. `extensions` are what a dead letter carries of it."""

    reason: str
    retry: bool
    extensions: Mapping[str, str] = field(default_factory=dict)


Verdict = Delivered | Replied | Failed


def parse_duration(text: str) -> float:
    """Seconds of an ISO 8601 duration of days and smaller units, such as `PT0.5S`. Raises ValueError."""
    match = _DURATION.match(text)
    if match is None or text.endswith(("P", "T")):
        raise ValueError(f"{text!r} is no ISO 8601 duration")
    days, hours, minutes, seconds = match.groups(default="0")
    whole = timedelta(days=int(days), hours=int(hours), minutes=int(minutes))
    return whole.total_seconds() + float(seconds)


def parse_delivery(spec: Mapping[str, Any]) -> Delivery:
    """The delivery of a manifest. Raises Broken for what no broker would accept."""
    try:
        delay, timeout = spec.get("backoffDelay"), spec.get("timeout")
        return Delivery(
            retry=int(spec.get("retry", 0)),
            exponential=spec.get("backoffPolicy", "exponential") == "exponential",
            backoff_delay=None if delay is None else parse_duration(delay),
            timeout=None if timeout is None else parse_duration(timeout),
            structured=spec.get("format") == "json",
            dead_letter_sink=spec.get("deadLetterSink"),
        )
    except (ValueError, TypeError) as error:
        raise Broken(f"a delivery cannot be understood: {error}", code="bad-manifest") from error


def judge(mode: Mode, url: str, response: Response) -> Verdict:
    """What an answer of the subscriber at `url` means."""
    if not 200 <= response.status < 300:
        return _refused(mode, url, response)
    if is_reply(response.headers):
        return _reply(mode, url, response)
    if not response.body or mode is Mode.RABBITMQ:
        return Delivered()
    reason = f"{response.status} with a body that is no CloudEvent"
    if mode is Mode.KAFKA:
        return Failed(reason, retry=False, extensions={"knativeerrordest": url})
    return Failed(reason, retry=True)


def unreachable(mode: Mode, url: str, reason: str) -> Failed:
    """What it means that no answer came because no connection could be made or it broke."""
    extensions = {"knativeerrordest": url}
    if mode is not Mode.KAFKA:
        extensions["knativeerrorcode"] = "500"
    if mode.is_channel_based:
        extensions["knativeerrordata"] = _encoded(f'dispatch error: Post "{url}": {reason}'.encode())
    return Failed(reason, retry=True, extensions=extensions)


def timed_out(mode: Mode, url: str) -> Failed:
    """What it means that no answer came in time."""
    return Failed("timeout", retry=True, extensions={} if mode.is_channel_based else {"knativeerrordest": url})


def reply_refused(broker_url: str) -> Failed:
    """What it means that the broker's own ingress does not take the reply (serverless.md §1.7.5)."""
    extensions = {"knativeerrordest": broker_url, "knativeerrorcode": "400", "knativeerrordata": ""}
    return Failed("the reply was refused by the broker", retry=False, extensions=extensions)


def _refused(mode: Mode, url: str, response: Response) -> Verdict:
    retry = response.status in RETRIED or response.status >= 500
    if mode is Mode.RABBITMQ and not retry:
        return Delivered(dropped=True)
    extensions = {"knativeerrordest": url, "knativeerrorcode": str(response.status)}
    if mode is not Mode.RABBITMQ:
        extensions["knativeerrordata"] = _encoded(response.body)
    if mode is Mode.KAFKA:
        named = {name.removeprefix("kne-"): value for name, value in response.headers.items() if name[:4] == "kne-"}
        extensions.update({name: value for name, value in named.items() if name.isalnum()})
    if response.status == 304 and mode.is_channel_based:
        extensions = {}
    return Failed(f"status {response.status}", retry=retry, extensions=extensions)


def _reply(mode: Mode, url: str, response: Response) -> Verdict:
    headers = dict(response.headers)
    is_binary = "ce-specversion" in headers
    if mode is Mode.RABBITMQ and is_binary:
        headers.setdefault("ce-id", str(uuid4()))
    try:
        return Replied(parse(headers, response.body))
    except NotACloudEvent:
        if mode is Mode.RABBITMQ:
            return Delivered()
        if mode is Mode.KAFKA:
            return Failed("a malformed reply", retry=False, extensions={"knativeerrordest": url})
        return Replied(None) if is_binary else Failed("a malformed reply", retry=True)


def _encoded(body: bytes) -> str:
    return base64.b64encode(body[:ERROR_DATA_LIMIT]).decode("ascii")
