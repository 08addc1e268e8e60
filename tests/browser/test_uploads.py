"""Large packages are sent in parts: an upload that broke off goes on from where it was; small ones go whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.browser.conftest import ARTEFACTS, guide_picture
from tests.stack import Stack, bag_tar

MIB = 2**20
PART = 16 * MIB
SIZE = 200 * MIB


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bag of 200 MiB."""
    path = tmp_path_factory.mktemp("upload") / "film.tar"
    path.write_bytes(bag_tar({"film.bin": Random(9).randbytes(SIZE), "notes.txt": b"Reel one\n"}))
    return path


@pytest.fixture
def context(browser: Browser, stack: Stack) -> Iterator[BrowserContext]:
    """A signed-in browser."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(stack.urls["registry"])
    page.get_by_label("Access token").fill(stack.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/archives")
    page.close()
    yield context
    context.close()


def _add_page(context: BrowserContext, stack: Stack, *, bytes_per_second: int = -1) -> tuple[Page, list[str]]:
    """The page for adding, over a line of that width, and the addresses of what it puts into the store."""
    page = context.new_page()
    sent: list[str] = []

    def note(request: Request) -> None:
        if request.method == "PUT":
            sent.append(request.url)

    page.on("request", note)
    line = context.new_cdp_session(page)
    line.send("Network.enable")
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    line.send("Network.emulateNetworkConditions", conditions)
    page.goto(f"{stack.urls['registry']}/add")
    return page, sent


@pytest.mark.timeout(400)
def test_200_mib_are_sent_with_a_pause_and_after_the_browser_was_closed_only_the_rest(
    context: BrowserContext, stack: Stack, package: Path
) -> None:
    page, _ = _add_page(context, stack, bytes_per_second=24 * MIB)
    page.get_by_label("Title").fill("A film")
    page.get_by_label("Package", exact=True).set_input_files(package)
    page.get_by_role("button", name="Upload").click()
    progress = page.locator("#upload-progress [role=status]")
    expect(progress).to_contain_text(re.compile(r"^[1-9]\d % sent: [\d.]+ of 200\.\d MiB"))
    guide_picture(page, "upload")
    page.get_by_role("button", name="Pause").click()
    expect(progress).to_contain_text("Paused")
    expect(page.get_by_role("heading", name="Unfinished uploads")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(progress).to_contain_text(re.compile(r"^[6-8]\d % sent"))
    page.close()

    page, sent = _add_page(context, stack)
    expect(page.locator("#unfinished li")).to_contain_text("film.tar")
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / "upload-unfinished.png")
    page.get_by_label("Package", exact=True).set_input_files(package)
    page.get_by_role("button", name="Resume").click()
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    parts = -(-package.stat().st_size // PART)
    assert 1 <= len(sent) <= parts - 4, f"{len(sent)} of {parts} parts were sent again"
    expect(page.locator("article [role=status]")).to_contain_text("Completed", timeout=180_000)
    expect(page.get_by_role("heading", level=1)).to_contain_text("A film")
    page.screenshot(path=ARTEFACTS / "upload-completed.png", full_page=True)
    page.goto(f"{stack.urls['registry']}/add")
    expect(page.locator("#unfinished")).to_be_hidden()


def test_an_upload_goes_on_by_itself_after_the_line_was_lost(
    context: BrowserContext, stack: Stack, package: Path
) -> None:
    page, _ = _add_page(context, stack, bytes_per_second=24 * MIB)
    chopped = package.with_name("short.tar")
    chopped.write_bytes(package.read_bytes()[: 40 * MIB])
    page.get_by_label("Package", exact=True).set_input_files(chopped)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#upload-progress [role=status]")).to_contain_text(re.compile(r"^[1-9]\d % sent"))
    context.set_offline(True)
    page.wait_for_timeout(500)
    context.set_offline(False)
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    expect(page.locator("article [role=status]")).to_contain_text("Rejected")


def test_a_paused_upload_is_discarded_and_waited_for_no_longer(
    context: BrowserContext, stack: Stack, package: Path
) -> None:
    page, _ = _add_page(context, stack, bytes_per_second=8 * MIB)
    chopped = package.with_name("discarded.tar")
    chopped.write_bytes(package.read_bytes()[: 40 * MIB])
    page.get_by_label("Title").fill("Never mind")
    page.get_by_label("Package", exact=True).set_input_files(chopped)
    page.get_by_role("button", name="Upload").click()
    progress = page.locator("#upload-progress [role=status]")
    expect(progress).to_contain_text(re.compile(r"^[1-9]\d? % sent"))
    page.get_by_role("button", name="Pause").click()
    expect(progress).to_contain_text("Paused")
    page.get_by_role("button", name="Discard discarded.tar").click()
    expect(page.locator("#unfinished")).to_be_hidden()
    page.goto(f"{stack.urls['registry']}/archives?q=never+mind")
    expect(page.locator("tbody tr").first).to_contain_text("Cancelled")
    page.goto(f"{stack.urls['registry']}/add")
    expect(page.locator("#unfinished")).to_be_hidden()


def test_a_dropped_file_is_the_chosen_one(context: BrowserContext, stack: Stack) -> None:
    page, sent = _add_page(context, stack)
    page.evaluate(
        """content => {
          const carried = new DataTransfer();
          carried.items.add(new File([Uint8Array.from(content)], "dropped.tar"));
          const drop = new DragEvent("drop", { dataTransfer: carried, bubbles: true });
          document.querySelector(".drop").dispatchEvent(drop);
        }""",
        list(bag_tar({"a.txt": b"dropped"})),
    )
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    assert len(sent) == 1
    expect(page.locator("article [role=status]")).to_contain_text("Completed")
