"""Reports for programs and for people; nothing a package says of itself becomes markup."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from html.parser import HTMLParser

from perdura import __version__
from perdura.packages.package import Report
from perdura.packages.reports import Read, to_html, to_json
from perdura.packages.sources import StoredObject
from perdura.packages.verify import verify
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_archive, bag

READ = Read(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, 0, 0, 1, tzinfo=UTC), "v1", "<etag>")
HOSTILE = "data/<script>alert(1)</script>\u202e.txt"


def report() -> Report:
    store = MemoryStore()
    files = bag({HOSTILE: b"x"}, info=b"Payload-Oxum: 1.1\nTitle: <b>bold</b>\n") | {"data/unlisted&more": b"y"}
    info = store.put("b", "k", as_archive(files, "tar")).info
    return verify(StoredObject(store, info.ref, info.size))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_verdict_findings_and_facts() -> None:
    page = Tags()
    page.feed(to_html("bag.tar", report(), READ))
    for text in (
        "bag.tar",
        "invalid",
        "payload-unlisted",
        "data/unlisted&more",
        "3, M7",
        "Title",
        "1.0",
        "v1",
        "<etag>",
        "2026-01-02T00:00:01",
    ):
        assert text in page.text


def test_nothing_of_a_package_becomes_markup() -> None:
    text = to_html("<img src=x>.tar", report(), READ)
    page = Tags()
    page.feed(text)
    assert {"script", "img", "b"}.isdisjoint(page.seen)
    assert "\u202e" not in text
    assert "\\u{202e}" in page.text


def test_json_has_every_finding_with_its_clause() -> None:
    value = json.loads(json.dumps(to_json("bag.tar", report(), READ)))
    assert value["verdict"] == "invalid"
    assert {finding["code"] for finding in value["findings"]} == set(value["counts"])
    assert all(finding["clause"] for finding in value["findings"])
    assert value["payload"] == {"files": 2, "bytes": 2}
    assert value["software"] == f"Perdura {__version__}"
    assert value["read"] == {
        "begun": "2026-01-02T00:00:00.000+00:00",
        "ended": "2026-01-02T00:00:01.000+00:00",
        "version": "v1",
        "etag": "<etag>",
    }
