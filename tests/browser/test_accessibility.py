"""No serious finding of axe (WCAG 2.2 AA) on any page, light and dark, wide and narrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import AXE
from tests.stack import Stack, bag_tar

WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1 ? [] :
    [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map(e => e.tagName + '.' + e.className)"""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PAGES = ["/archives", "/collections", "/jobs", "/jobs/new", "/sources", "/sources/zenodo/search", "/schedules",
         "/schedules/new", "/tape",
         "/tape/jobs",
         "/statistics", "/notifications", "/archives/{id}", "/add", "/failures", "/events", "/api/docs",
         "{access}/archives/{id}", "{access}/"]  # fmt: skip


@pytest.fixture(scope="module")
def archive(stack: Stack) -> str:
    """A finished Archive, and a rejected one beside it."""
    rejected = stack.deposit(b"this is no bag", filename="nothing.zip")
    archive = stack.deposit(bag_tar({"a.txt": b"a" * 2000, "b/c.csv": b"1,2\n"}), title="For the eyes")
    stack.finished(rejected)
    stack.finished(archive)
    return archive


@pytest.fixture(params=["light", "dark", "narrow"])
def examined(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A signed-in page in one of the looks; the policy is lifted so that axe can be added."""
    context = browser.new_context(
        color_scheme="dark" if request.param == "dark" else "light",
        viewport={"width": 360 if request.param == "narrow" else 1280, "height": 800},
        bypass_csp=True,
    )
    page = context.new_page()
    page.goto(stack.urls["registry"])
    page.get_by_label("Access token").fill(stack.token)
    page.get_by_role("button", name="Sign in").click()
    yield page
    context.close()


def findings(page: Page) -> list[str]:
    page.add_script_tag(path=AXE)
    result: dict[str, Any] = page.evaluate("rules => axe.run({ runOnly: { type: 'tag', values: rules } })", RULES)
    return [
        f"{finding['id']} ({finding['impact']}): {node['html'][:160]}"
        for finding in result["violations"]
        for node in finding["nodes"]
        if finding["impact"] in {"serious", "critical", "moderate"}
    ]


def test_no_page_shuts_anybody_out(examined: Page, stack: Stack, archive: str) -> None:
    found: dict[str, list[str]] = {}
    for address in PAGES:
        target = address.format(id=archive, access=stack.urls["access"])
        examined.goto(target if target.startswith("http") else stack.urls["registry"] + target)
        for summary in examined.locator("main details > summary").all()[:5]:
            summary.click()
        if wrong := findings(examined):
            found[address] = wrong
        if wide := examined.evaluate(WIDE):
            found.setdefault(address, []).append(f"the page scrolls sideways: {wide}")
    assert found == {}, json.dumps(found, indent=1)
