"""The everyday work of an archivist, in a real browser."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.stack import Stack, bag_tar

RECORD = "5ns0j-g6r27"
DONE = re.compile("Completed")


def _bag(folder: Path, *, broken: bool = False) -> Path:
    """A package of its own: what is kept already would be answered with its Archive."""
    path = folder / ("broken.tar" if broken else "letters.tar")
    content = bag_tar({"letter.txt": b"Ma ch\xc3\xa8re fille\n", "image.bin": os.urandom(16_384)})
    path.write_bytes(content.replace(b"fille", b"fills") if broken else content)
    return path


def _state(page: Page) -> str:
    return page.locator("article [role=status] .state").inner_text()


def test_a_record_is_added_by_its_address_and_followed_to_its_access_page(page: Page, stack: Stack) -> None:
    page.get_by_role("link", name="Add", exact=True).first.click()
    page.get_by_label("Address, DOI").fill(f"{stack.urls['upstream']}/records/{RECORD}")
    page.get_by_role("button", name="Look").click()
    expect(page.locator(".preview h3")).to_contain_text("Tides at Étretat")
    expect(page.locator(".preview tbody tr").first).to_be_visible()
    page.get_by_role("button", name="Preserve it").click()
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    page.evaluate("window.neverReloaded = true")
    expect(page.locator("article [role=status]")).to_contain_text(DONE)
    assert page.evaluate("window.neverReloaded") is True
    expect(page.locator("article")).not_to_have_attribute("hx-trigger", "every 2s")
    expect(page.locator(".events li").first).to_be_visible()
    page.get_by_role("link", name="Access page").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Tides at Étretat")
    with page.expect_download() as download:
        page.locator("table a").first.click()
    digest = page.locator("table code").first.get_attribute("title") or page.locator("table summary").first.inner_text()
    content = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest().startswith(digest.strip("▸… \n")[:12])


def test_a_package_is_uploaded_with_progress(page: Page, tmp_path: Path) -> None:
    page.goto(page.url.replace("/archives", "/add"))
    page.get_by_label("Title").fill("Letters <b>of</b> 1911")
    page.get_by_label("Package", exact=True).set_input_files(_bag(tmp_path))
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    expect(page.locator("article [role=status]")).to_contain_text(DONE)
    expect(page.locator(".copy").first).to_contain_text("verified")
    details = page.locator(".events details").first
    details.locator("summary").click()
    expect(details).to_have_attribute("open", "")


def test_a_rejected_package_shows_every_reason(page: Page, tmp_path: Path) -> None:
    page.goto(page.url.replace("/archives", "/add"))
    page.get_by_label("Package", exact=True).set_input_files(_bag(tmp_path, broken=True))
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    expect(page.locator("article [role=status]")).to_contain_text("Rejected")
    assert _state(page).strip() == "Rejected"
    expect(page.locator(".findings")).to_contain_text("letter.txt")
    expect(page.get_by_role("button", name=re.compile("Retry"))).to_have_count(0)
    page.get_by_role("link", name="Failures").click()
    expect(page.locator(".causes")).to_contain_text("Ingest")


def test_an_unknown_address_is_explained(page: Page) -> None:
    page.goto(page.url.replace("/archives", "/add"))
    page.get_by_label("Address, DOI").fill("https://nowhere.invalid/records/1")
    page.get_by_role("button", name="Look").click()
    expect(page.locator("#preview [role=alert]")).to_be_visible()


def test_search_and_filters_live_in_the_address(page: Page, stack: Stack) -> None:
    archive = stack.deposit(bag_tar({"a.txt": b"a"}), title="Findable zygote")
    stack.finished(archive)
    page.get_by_label("Search", exact=True).fill("zygo")
    page.get_by_role("button", name="Search").click()
    assert "q=zygo" in page.url
    expect(page.locator("tbody tr")).to_have_count(1)
    page.goto(page.url + "&state=failed")
    expect(page.locator("main")).to_contain_text("Nothing matches")


def test_everything_works_without_javascript(plain_page: Page, tmp_path: Path) -> None:
    page = plain_page
    page.goto(page.url.replace("/archives", "/add"))
    page.get_by_label("Title").fill("Plain form")
    page.get_by_label("Package", exact=True).set_input_files(_bag(tmp_path))
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/archives/[0-9a-f-]{36}$"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Plain form")
    for _ in range(40):
        if "Completed" in _state(page):
            break
        page.wait_for_timeout(500)
        page.reload()
    assert "Completed" in _state(page)
    page.get_by_role("link", name="Events").click()
    expect(page.locator(".events li").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_archives_are_chosen_in_the_list_and_acted_on(plain_page: Page, stack: Stack) -> None:
    for title in ("Chosen for the exhibition", "Left in the depot"):
        stack.finished(stack.deposit(bag_tar({"a.txt": title.encode()}), title=title))
    plain_page.goto(f"{stack.urls['registry']}/archives")
    plain_page.get_by_label("Choose Chosen for the exhibition").check()
    plain_page.get_by_role("button", name="Act on the chosen").click()
    expect(plain_page.get_by_role("heading", level=1)).to_have_text("Act on 1 Archive")
    plain_page.get_by_label("What is to be done").select_option("cancel")
    plain_page.get_by_role("button", name="Show the plan").click()
    expect(plain_page.get_by_text("There is nothing to do.")).to_be_visible()
