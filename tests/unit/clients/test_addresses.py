"""Addresses that strangers write: which can be asked, and which are refused before anything is kept or sent."""

from __future__ import annotations

import pytest

from perdura.clients.addresses import mailbox, origin_of
from perdura.clients.reach import DestinationRefused, Reach

NONE = [
    "http://[",
    "http://",
    "http:///x",
    "ftp://example.org/",
    "http://x..y/",
    "http://.example.org/",
    f"http://{'a' * 64}.example/",
    "http://a.example:99999/",
    "http://a.example:x/",
    "http://\u2100.example/",
    "http://exa mple.org/",
    "http://a%00.example/",
    "http://[fe80::zz]/",
    "example.org",
]


@pytest.mark.parametrize("url", NONE)
def test_what_cannot_be_asked_is_no_address(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        origin_of(url)
    with pytest.raises(DestinationRefused):
        Reach(frozenset({"*.example", "x..y", "example.org"})).check(url)


def test_the_origin_is_lower_case_ascii_with_its_port() -> None:
    assert origin_of("HTTPS://Hook.Example/\u20ac?a=b") == ("https", "hook.example", 443)
    assert origin_of("http://b\u00fccher.example:8080/") == ("http", "xn--bcher-kva.example", 8080)
    assert origin_of("http://[2001:DB8::1]/") == ("http", "2001:db8::1", 80)


@pytest.mark.parametrize("address", ["ada@example.org", "a.b+c@b\u00fccher.example", "o'neil@x-y.example"])
def test_a_mail_address_is_a_name_at_a_host(address: str) -> None:
    assert mailbox(address)[0] == address.partition("@")[0]


@pytest.mark.parametrize(
    "address",
    ["a@[", "a@", "@a.example", '"@example.org', "a b@c.example", "<a@c.example>", "a@b@c.example", "a..b@c.example",
     ".a@c.example", "a@x..", "a@x..y", "(@x.example", "a:b@c;", "a@::1", "\u00e4@c.example"],
)  # fmt: skip
def test_anything_else_is_no_mail_address(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        mailbox(address)
