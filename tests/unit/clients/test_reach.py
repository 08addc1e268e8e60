"""Which hosts and addresses may be reached."""

from __future__ import annotations

import ipaddress
import threading
import time

import pytest

from perdura.clients import reach
from perdura.clients.connections import Connections
from perdura.clients.reach import DestinationRefused, Reach, is_public, judged_addresses
from perdura.errors import UpstreamUnavailable

REACH = Reach(frozenset({"example.org", "*.cern.ch"}))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "168.63.129.16",
        "::ffff:168.63.129.16",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "100::1",
    ],
)
def test_addresses_that_are_never_reached(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["188.184.9.234", "2001:1458:201:a8::100:1a9", "::ffff:188.184.9.234"])
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("host", "permitted"),
    [
        ("example.org", True),
        ("EXAMPLE.org.", True),
        ("www.example.org", False),
        ("cds.cern.ch", True),
        ("a.b.cern.ch", True),
        ("cern.ch", False),
        ("evilcern.ch", False),
        ("cern.ch.evil.org", False),
    ],
)
def test_allow_list(host: str, permitted: bool) -> None:
    assert REACH.permits(host) is permitted


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org@evil.org/",
        "https://user@example.org/",
        "ftp://example.org/",
        "//example.org/",
        "https:///path",
        "https://example.org:99999/",
        "https://[::1/",
        "https://evil.org/?u=https://example.org",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(DestinationRefused):
        REACH.check(url)


def test_one_private_address_refuses_the_host() -> None:
    with pytest.raises(DestinationRefused):
        judged_addresses("example.org", 443, REACH, lambda host, port: ["188.184.9.234", "10.0.0.1"])


def test_loopback_needs_the_setting_and_the_list() -> None:
    local = Reach(frozenset({"127.0.0.1", "demo.example.org"}), allow_loopback=True)
    assert judged_addresses("127.0.0.1", 80, local, lambda host, port: ["127.0.0.1"])
    with pytest.raises(DestinationRefused):
        judged_addresses("demo.example.org", 80, local, lambda host, port: ["10.0.0.1"])
    with pytest.raises(DestinationRefused):
        judged_addresses("other.example.org", 80, local, lambda host, port: ["127.0.0.1"])


def test_services_of_the_operator_may_be_private() -> None:
    reach = Reach(frozenset({"archivematica.internal"}), allow_private=True)
    assert judged_addresses("archivematica.internal", 80, reach, lambda host, port: ["10.0.0.1"])


def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    def lookup(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(UpstreamUnavailable):
        judged_addresses("example.org", 443, REACH, lookup)


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **more: answer.wait(10) and [])
    monkeypatch.setattr(reach, "LOOK_UP_SECONDS", 0.1)
    begun = time.monotonic()
    try:
        with pytest.raises(UpstreamUnavailable):
            judged_addresses("example.org", 443, REACH)
    finally:
        answer.set()
    assert time.monotonic() - begun < 5


def test_looking_a_name_up_is_part_of_the_time_that_an_exchange_has(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []

    def lookup(host: str, port: int) -> list[str]:
        time.sleep(0.3)
        return ["188.184.9.234"]

    def connect(address: tuple[str, int], timeout: float) -> None:
        left.append(timeout)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        Connections(REACH, (5, 5), lookup=lookup, within=2.0).send("POST", "https://example.org/", {}, b"")
    assert left[0] <= 1.7


def test_the_connection_goes_to_the_address_that_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to another address the second time gains nothing."""
    asked: list[str] = []
    answers = iter([["188.184.9.234"], ["127.0.0.1"]])
    network = Connections(REACH, (1, 1), lookup=lambda host, port: next(answers))

    def connect(address: tuple[str, int], timeout: float) -> None:
        asked.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        network.send("GET", "https://example.org/", {}, None)
    with pytest.raises(DestinationRefused):
        network.send("GET", "https://example.org/", {}, None)
    assert asked == ["188.184.9.234"]
