"""Manifests as the broker reads them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from perdura.errors import Broken
from perdura.local.broker.delivery import DEFAULT_DELIVERY, Mode, parse_delivery, parse_duration
from perdura.local.broker.topology import Addresses, NoAddress, build_topology
from perdura.local.manifests_kustomize import BadManifest

REFERENCE = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "fn"}}


def document(kind: str, spec: dict[str, Any], group: str = "eventing.knative.dev/v1") -> dict[str, Any]:
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "x", "namespace": "ns"}, "spec": spec}


def test_a_delivery_is_inherited_or_replaced() -> None:
    inherited = document("Trigger", {"broker": "x", "subscriber": REFERENCE})
    [trigger] = build_topology([document("Broker", {}), inherited]).triggers["ns/x"]
    assert trigger.delivery == DEFAULT_DELIVERY
    own = document("Trigger", {"broker": "x", "subscriber": REFERENCE, "delivery": {"retry": 1}})
    [trigger] = build_topology([document("Broker", {"delivery": {"retry": 9}}), own]).triggers["ns/x"]
    assert trigger.delivery.retry == 1


@pytest.mark.parametrize(
    "documents",
    [
        [document("Trigger", {"broker": "none", "subscriber": REFERENCE})],
        [document("Broker", {}), document("Trigger", {"broker": "x"})],
        [document("Trigger", {})],
        [
            document("Broker", {}),
            document("Trigger", {"broker": "x", "subscriber": REFERENCE, "filters": [{"cesql": "1"}]}),
        ],
        [document("Broker", {"delivery": {"backoffDelay": "2s"}})],
        [document("PingSource", {"schedule": "* * *", "sink": REFERENCE}, "sources.knative.dev/v1")],
        [document("PingSource", {"sink": REFERENCE}, "sources.knative.dev/v1")],
    ],
)
def test_what_cannot_be_served_is_refused_loudly(documents: list[dict[str, Any]]) -> None:
    with pytest.raises(Broken):
        build_topology(documents)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(BadManifest, match="name"):
        build_topology([{"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "metadata": {}}])


def test_other_kinds_are_passed_over() -> None:
    assert build_topology([document("Service", {}, "serving.knative.dev/v1"), {}]).brokers == frozenset()


def test_addresses_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "services.json"
    addresses = Addresses(file)
    with pytest.raises(NoAddress):
        addresses.resolve(REFERENCE)
    for number, url in enumerate(("http://127.0.0.1:1", "http://127.0.0.1:2")):
        file.write_text(json.dumps({"fn": url}))
        os.utime(file, ns=(number, number))
        assert addresses.resolve(REFERENCE) == url
    assert addresses.resolve(REFERENCE | {"uri": "/path"}) == "http://127.0.0.1:2/path"
    file.write_text("{broken")
    assert addresses.resolve(REFERENCE) == "http://127.0.0.1:2"


def test_uris() -> None:
    addresses = Addresses(None)
    assert addresses.resolve({"uri": "http://h/x"}) == "http://h/x"
    for destination in ({}, {"uri": "/x"}, {"uri": "https://h"}, {"uri": "file:///etc/passwd"}, REFERENCE):
        with pytest.raises(NoAddress):
            addresses.resolve(destination)


@pytest.mark.parametrize(
    ("text", "seconds"), [("PT0.2S", 0.2), ("PT1M30S", 90), ("P1DT1H", 90_000), ("PT0S", 0), ("P2D", 172_800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "2s", "PT2", "-PT2S", "PT2S ", "P1M"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("mode", "policy", "gaps"),
    [
        (Mode.MT, "exponential", [1, 2, 4]),
        (Mode.SYNC, "linear", [0, 1, 2]),
        (Mode.RABBITMQ, "exponential", [2, 4, 8]),
        (Mode.KAFKA, "exponential", [2, 4, 8]),
        (Mode.KAFKA, "linear", [1, 2, 3]),
    ],
)
def test_gaps(mode: Mode, policy: str, gaps: list[float]) -> None:
    delivery = parse_delivery({"retry": 3, "backoffPolicy": policy, "backoffDelay": "PT1S"})
    assert [delivery.gap(mode, attempts) for attempts in (1, 2, 3)] == gaps


def test_gaps_without_back_off() -> None:
    delivery = parse_delivery({"retry": 3})
    assert [delivery.gap(mode, 1) for mode in Mode] == [0, 0.1, 0, 0]
