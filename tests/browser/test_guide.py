"""The walk of the user guide: every page it shows is reached as it says, and photographed.

`PERDURA_GUIDE` names a folder that the pictures go to as well: `docs/images` renews those of the guide.
"""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import guide_picture
from tests.stack import Stack, bag_tar


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
    guide_picture(page, "archives")
    page.get_by_role("link", name="Letters", exact=True).click()
    expect(page.locator(".copy").first).to_contain_text("verified")
    page.get_by_label("Add it to").fill("Correspondence")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("region", name="Collections")).to_contain_text("Correspondence")
    guide_picture(page, "archive")
    page.get_by_role("link", name="Correspondence").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Correspondence")
    guide_picture(page, "collection")
    page.get_by_role("link", name="Act on all").click()
    page.get_by_label("What is to be done").select_option("take-out")
    page.get_by_role("button", name="Show the plan").click()
    guide_picture(page, "plan")
    page.get_by_role("button", name="Do it").click()
    expect(page.locator("[role=status]")).to_contain_text("1 done")
    guide_picture(page, "job")
    page.get_by_role("link", name="Failures").click()
    expect(page.locator(".causes")).to_contain_text("Ingest")
    guide_picture(page, "failures")
    page.get_by_role("link", name="Statistics").click()
    expect(page.locator("svg.chart").first).to_be_visible()
    guide_picture(page, "statistics")
    page.get_by_role("link", name="Sources").click()
    guide_picture(page, "sources")
    page.get_by_role("link", name="Schedules").click()
    page.get_by_role("link", name="New schedule").click()
    page.get_by_label("Name", exact=True).fill("Theses, weekly")
    page.get_by_label("Source").select_option("zenodo")
    page.get_by_label("Query").fill("resource_type.type:thesis")
    page.get_by_label("When", exact=True).fill("0 3 * * 1")
    page.get_by_label("Make it paused").check()
    page.evaluate("scrollTo(0, 0)")
    guide_picture(page, "schedule-new")
    page.get_by_role("button", name="Make the schedule").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Theses, weekly")
    guide_picture(page, "schedule")
    page.get_by_role("link", name="Tape").click()
    expect(page.get_by_text("Copies on tape")).to_be_visible()
    guide_picture(page, "tape")
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
