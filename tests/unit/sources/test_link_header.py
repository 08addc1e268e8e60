"""Links of headers and linksets."""

from __future__ import annotations

import json

import pytest

from perdura.clients.http import UpstreamRefused
from perdura.sources.link_header import Link, parse_header, parse_linkset
from tests.shared_data import reference_data

BASE = "https://rdm.test/records/18hms-pp478"


def test_every_link_of_a_landing_page_is_kept() -> None:
    headers = json.loads(reference_data("upstreams", "inveniordm", "v14-landing.headers.json").read_text())
    links = parse_header(headers["link"], BASE)
    relations = [link.relation for link in links]
    assert relations.count("describedby") == 15
    assert relations.count("item") == 2
    assert Link("https://doi.org/10.5072/18hms-pp478", "cite-as") in links
    assert next(link for link in links if link.profile).type == "application/ld+json"


def test_a_linkset_says_the_same() -> None:
    headers = json.loads(reference_data("upstreams", "inveniordm", "v14-landing.headers.json").read_text())
    body = reference_data("upstreams", "inveniordm", "v14-linkset.json").read_bytes()
    found = {link for link in parse_linkset(body, BASE, BASE) if link.relation in ("item", "cite-as", "describedby")}
    assert found == {
        link for link in parse_header(headers["link"], BASE) if link.relation in ("item", "cite-as", "describedby")
    }


@pytest.mark.parametrize(
    ("value", "links"),
    [
        ('<a>; rel="item"', [Link("https://rdm.test/records/a", "item")]),
        (
            '<a>;rel=item;type=text/csv,<b>;rel="Item x"',
            [
                Link("https://rdm.test/records/a", "item", "text/csv"),
                Link("https://rdm.test/records/b", "item"),
                Link("https://rdm.test/records/b", "x"),
            ],
        ),
        ('<a,b;c>; rel="item"; title="a, \\"b\\"; rel=x"', [Link("https://rdm.test/records/a,b;c", "item")]),
        ('<a>; rel="item"; anchor="#other"', []),
        ("<a>", []),
        ("nonsense; rel=item", []),
        ("", []),
    ],
)
def test_forms(value: str, links: list[Link]) -> None:
    assert parse_header(value, BASE) == links


def test_hostile_headers_take_no_time() -> None:
    assert parse_header("<a>" + "; x=" * 50_000, BASE) == []
    assert parse_header("<" * 100_000, BASE) == []


def test_what_is_no_linkset() -> None:
    with pytest.raises(UpstreamRefused):
        parse_linkset(b"<html>", BASE, BASE)
