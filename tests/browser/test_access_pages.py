"""A reader without JavaScript finds, reads and fetches what was published, and sees why something is shut."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import ARTEFACTS, complaints
from tests.stack import Stack, bag_tar

HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>kept</h1>"
WARC = (
    b"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: https://site.example.org/page\r\n"
    b"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
    b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(HTTP), HTTP)
)


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    header = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


FILES = {
    "plot.png": png(40, 30),
    "notes.txt": "Étretat, the cliffs <script>alert(1)</script>\n".encode(),
    "article.pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    "site.warc.gz": gzip.compress(WARC),
}


@pytest.fixture(scope="module")
def archive(stack: Stack) -> str:
    made = stack.deposit(bag_tar(FILES), title="Cliffs without scripts")
    assert stack.finished(made)["state"] == "completed", stack.steps(made)
    return made


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a browser that runs no scripts."""
    context = browser.new_context(java_script_enabled=False, accept_downloads=True)
    page = context.new_page()
    complained = complaints(page)
    yield page
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"without-scripts-{request.node.name[5:40]}.png", full_page=True)
    context.close()
    assert [text for text in complained if "status of 4" not in text] == []


def fetched(page: Page, link: str) -> bytes:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).first.click()
    return Path(download.value.path()).read_bytes()


def test_a_reader_goes_from_the_list_to_the_bytes(page: Page, stack: Stack, archive: str) -> None:
    page.goto(stack.urls["access"])
    page.get_by_role("link", name="Cliffs without scripts").first.click()
    expect(page).to_have_url(f"{stack.urls['access']}/archives/{archive}")
    expect(page.get_by_role("heading", name="Cite as")).to_be_visible()
    expect(page.locator(".citation")).to_contain_text("Cliffs without scripts")
    digest = hashlib.sha256(FILES["notes.txt"]).hexdigest()
    page.locator("tr", has_text="notes.txt").locator("summary").click()
    expect(page.get_by_text(digest)).to_be_visible()
    assert fetched(page, "notes.txt") == FILES["notes.txt"]
    with zipfile.ZipFile(io.BytesIO(fetched(page, "All files (zip)"))) as opened:
        names = {name.rpartition("/")[2]: name for name in opened.namelist()}
        assert {name: opened.read(names[name]) for name in FILES} == FILES


def test_every_kind_of_file_that_can_be_shown_is_shown(page: Page, stack: Stack, archive: str) -> None:
    address = f"{stack.urls['access']}/archives/{archive}"
    page.goto(address)
    page.get_by_role("link", name="View plot.png").click()
    expect(page.locator("img.shown")).to_be_visible()
    box = page.locator("img.shown").bounding_box()
    assert box is not None
    assert box["width"] >= 40
    page.goto(address)
    page.get_by_role("link", name="View notes.txt").click()
    expect(page.locator("pre.shown")).to_contain_text("Étretat, the cliffs <script>alert(1)</script>")
    page.goto(address)
    page.get_by_role("link", name="View site.warc.gz").click()
    expect(page.get_by_role("row", name="https://site.example.org/page")).to_contain_text("200")
    page.goto(address)
    page.get_by_role("link", name="View article.pdf").click()
    expect(page.get_by_role("link", name="Open in the browser")).to_be_visible()


def test_an_embargo_and_a_withdrawal_say_so_in_words(page: Page, stack: Stack) -> None:
    made = stack.deposit(bag_tar({"a.txt": b"shut"}), title="Shut without scripts")
    assert stack.finished(made)["state"] == "completed", stack.steps(made)
    address = f"{stack.urls['access']}/archives/{made}"
    stack.api.put(f"/archives/{made}/embargo", json={"until": "2990-01-01"}).raise_for_status()
    page.goto(address)
    expect(page.get_by_text("under embargo until 2990-01-01")).to_be_visible()
    expect(page.get_by_role("link", name="a.txt")).to_have_count(0)
    stack.api.post(f"/archives/{made}/withdrawal", json={"reason": "copyright", "note": "the heirs"}).raise_for_status()

    def withdrawn() -> bool | None:
        answer = page.goto(address)
        return True if answer is not None and answer.status == 410 else None

    stack.until(withdrawn, 60, every=0.5)
    expect(page.get_by_text("copyright the heirs")).to_be_visible()
    page.goto(stack.urls["access"])
    expect(page.get_by_role("link", name="Shut without scripts")).to_have_count(0)
