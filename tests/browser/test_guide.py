"""The walk of the user guide: every page it shows is reached as it says, and photographed.

`PERDURA_GUIDE` names a folder that the pictures go to as well: `docs/images` renews those of the guide.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import ARTEFACTS
from tests.stack import Stack, bag_tar


def _photograph(page: Page, name: str) -> None:
    for folder in (ARTEFACTS / "guide", *(Path(given) for given in [os.environ.get("PERDURA_GUIDE")] if given)):
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")


def test_an_archivists_day(page: Page, stack: Stack) -> None:
    rejected = stack.deposit(b"this is no bag", filename="nothing.zip", title="Not a bag")
    good = stack.deposit(bag_tar({"letter.txt": b"Dear reader\n" * 50, "map.csv": b"x,y\n1,2\n"}), title="Letters")
    stack.finished(rejected)
    stack.finished(good)
    page.goto(f"{stack.urls['registry']}/archives")
    page.get_by_label("Search").fill("letters")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("table.rows")).to_contain_text("Letters")
    expect(page).to_have_url(re.compile(r"q=letters"))
    _photograph(page, "archives")
    page.get_by_role("link", name="Letters", exact=True).click()
    expect(page.locator(".copy").first).to_contain_text("verified")
    page.get_by_label("Add it to").fill("Correspondence")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("region", name="Collections")).to_contain_text("Correspondence")
    _photograph(page, "archive")
    page.get_by_role("link", name="Correspondence").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Correspondence")
    _photograph(page, "collection")
    page.get_by_role("link", name="Act on all").click()
    page.get_by_label("What is to be done").select_option("take-out")
    page.get_by_role("button", name="Show the plan").click()
    _photograph(page, "plan")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("[role=status]")).to_contain_text("1 done")
    _photograph(page, "job")
    page.get_by_role("link", name="Failures").click()
    expect(page.locator(".causes")).to_contain_text("Ingest")
    _photograph(page, "failures")
    page.get_by_role("link", name="Statistics").click()
    expect(page.locator("svg.chart").first).to_be_visible()
    _photograph(page, "statistics")
    page.get_by_role("link", name="Sources").click()
    _photograph(page, "sources")
    page.get_by_role("link", name="Notifications").click()
    page.get_by_label("Address").fill("https://hooks.example.org/perdura")
    page.get_by_role("button", name="Subscribe").click()
    expect(page.get_by_text("whsec_")).to_be_visible()


def test_everyday_pages_are_read_and_used_without_javascript(plain_page: Page, stack: Stack) -> None:
    stack.finished(stack.deposit(bag_tar({"a.txt": b"plain"}), title="Without script"))
    for address in ("/collections", "/jobs", "/sources", "/schedules", "/tape", "/statistics", "/failures", "/events"):
        plain_page.goto(stack.urls["registry"] + address)
        expect(plain_page.get_by_role("heading", level=1)).to_be_visible()
    plain_page.goto(f"{stack.urls['registry']}/archives?q=script")
    expect(plain_page.locator("table.rows")).to_contain_text("Without script")
