"""No serious finding of axe (WCAG 2.2 AA) on any page, light and dark, wide and narrow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import AXE
from tests.browser.test_access_pages import png
from tests.browser.test_work import RECORD
from tests.every_page import ACCESS, REGISTRY, addresses
from tests.stack import Stack, bag_tar

WIDE = """() => document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1 ? [] :
    [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 5).map(e => e.tagName + '.' + e.className)"""
EVERYTHING = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
RULES = {
    "light": EVERYTHING,
    "dark": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
    "narrow": {"type": "rule", "values": ["color-contrast", "target-size", "scrollable-region-focusable"]},
}
"""What is asked of a page in a look: everything in one, in the others what they can change."""
REFUSED = ["/nowhere", "/archives?size_min=much", "/archives/01900000-0000-7000-8000-00000000dead"]
ACCESS_REFUSED = ["/nowhere", "/archives/{withdrawn}", "/archives/{shut}/files/data/objects/a.txt"]
SUBSCRIPTION = {"way": "webhook", "address": "https://hooks.example.org/x", "kinds": ["failed"]}


@pytest.fixture(scope="module")
def names(stack: Stack) -> dict[str, str]:
    """Something of everything there is a page for: a finished Archive, a rejected one, a shut one, a job, and so on."""
    word = os.urandom(4).hex()  # a stack that runs already may have been here before
    own = {"c.txt": word.encode()}
    rejected = stack.deposit(b"this is no bag", filename="nothing.zip")
    archive = stack.deposit(bag_tar({"a.txt": b"a" * 2000, "b.png": png(40, 30), **own}), title="For the eyes")
    shut = stack.deposit(bag_tar({"a.txt": b"shut", **own}), title="Shut")
    withdrawn = stack.deposit(bag_tar({"a.txt": b"gone", **own}), title="Withdrawn")
    for each in (rejected, archive, shut, withdrawn):
        stack.finished(each)

    def made(path: str, **body: object) -> str:
        return str(stack.api.post(path, json=body).raise_for_status().json()["id"])

    stack.api.put(f"/archives/{shut}/embargo", json={"until": "2990-01-01"}).raise_for_status()
    stack.api.post(f"/archives/{withdrawn}/withdrawal", json={"reason": "copyright"}).raise_for_status()
    stack.until(lambda: _answers(f"{stack.urls['access']}/archives/{withdrawn}", 410), 60, every=0.5)
    known = stack.archive(archive)
    package = next(package for package in known["packages"] if package["kind"] == "AIP")
    collection, empty = made("/collections", name=f"Eyes {word}"), made("/collections", name=f"Empty {word}")
    stack.api.post(f"/collections/{collection}/members", json={"archives": [archive]}).raise_for_status()
    stack.api.post("/grants", json={"group": "readers", "archive": archive}).raise_for_status()
    stack.api.post("/users/me/tokens", json={"name": "t", "scopes": ["read"], "days": 1}).raise_for_status()
    stack.api.post("/subscriptions", json=SUBSCRIPTION).raise_for_status()
    schedule = made("/schedules", name=f"Weekly {word}", source="zenodo", cron="@weekly", paused=True)
    packages = [{"key": "nothing.zip"}]
    run = made(f"/schedules/{schedule}/runs")
    stack.api.post(f"/runs/{run}/cancel").raise_for_status()
    job = made("/announcements", bucket="perdura-incoming", packages=packages)
    stack.until(lambda: stack.api.get(f"/jobs/{job}").json()["state"] == "completed" or None, 60)
    (error,) = {step["error"]["code"] for step in stack.steps(rejected) if step["error"]}
    return {
        "archive": archive, "rejected": rejected, "shut": shut, "withdrawn": withdrawn, "package": package["id"],
        "text": "data/objects/a.txt", "image": "data/objects/b.png", "collection": collection,
        "empty_collection": empty, "schedule": schedule, "run": run, "job": job, "code": error,
        "user": stack.api.get("/users/me").json()["id"],
    }  # fmt: skip


def _answers(url: str, status: int) -> bool | None:
    return True if httpx.get(url).status_code == status else None


@dataclass(frozen=True)
class Examined:
    """A signed-in page in one of the looks; the policy is lifted so that axe can be added."""

    page: Page
    look: str

    def wrongs(self) -> list[str]:
        """What shuts somebody out of the page, some of its details opened; also that it is wider than the window."""
        for summary in self.page.locator("main details > summary").all()[:5]:
            summary.click()
        wide = self.page.evaluate(WIDE)
        return findings(self.page, self.look) + ([f"the page scrolls sideways: {wide}"] if wide else [])


@pytest.fixture(params=list(RULES))
def examined(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Examined]:
    context = browser.new_context(
        color_scheme="dark" if request.param == "dark" else "light",
        viewport={"width": 360 if request.param == "narrow" else 1280, "height": 800},
        bypass_csp=True,
    )
    page = context.new_page()
    page.goto(stack.urls["registry"])
    page.get_by_label("Access token").fill(stack.token)
    page.get_by_role("button", name="Sign in").click()
    yield Examined(page, request.param)
    context.close()


def findings(page: Page, look: str = "light") -> list[str]:
    """What axe finds on a page that is more than a small matter."""
    page.add_script_tag(path=AXE)
    result: dict[str, Any] = page.evaluate("rules => axe.run({ runOnly: rules })", RULES[look])
    return [
        f"{finding['id']} ({finding['impact']}): {node['html'][:160]}"
        for finding in result["violations"]
        for node in finding["nodes"]
        if finding["impact"] in {"serious", "critical", "moderate"}
    ]


@pytest.mark.timeout(400)
def test_no_page_shuts_anybody_out(examined: Examined, stack: Stack, names: dict[str, str]) -> None:
    registry, access = stack.urls["registry"], stack.urls["access"]
    wanted = {f"{registry}{address}": 200 for address in [*addresses(REGISTRY, **names), "/api/docs"]}
    wanted |= {f"{access}{address}": 200 for address in addresses(ACCESS, **names)}
    refused = [(registry, address) for address in REFUSED] + [(access, address) for address in ACCESS_REFUSED]
    found: dict[str, list[str]] = {}
    for target in [*wanted, *(base + address.format(**names) for base, address in refused)]:
        answer = examined.page.goto(target)
        assert answer is not None
        assert (answer.status < 400) == (target in wanted), f"{answer.status} {target}"
        if wrong := examined.wrongs():
            found[target] = wrong
    assert found == {}, json.dumps(found, indent=1)


def test_nothing_that_a_form_answers_shuts_anybody_out(examined: Examined, stack: Stack) -> None:
    page, found = examined.page, dict[str, list[str]]()

    def look(name: str) -> None:
        if wrong := examined.wrongs():
            found[name] = wrong

    page.goto(f"{stack.urls['registry']}/add")
    page.get_by_label("Address, DOI").fill("https://nowhere.invalid/records/1")
    page.get_by_role("button", name="Look").click()
    expect(page.locator("#preview [role=alert]")).to_be_visible()
    look("an address that nobody knows")
    page.get_by_label("Address, DOI").fill(f"{stack.urls['upstream']}/records/{RECORD}")
    page.get_by_role("button", name="Look").click()
    expect(page.locator(".preview h3")).to_be_visible()
    look("what would be harvested")
    page.get_by_label("Or single packages").fill("../a.zip")
    page.get_by_role("button", name="Announce").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look("an announcement that is refused")
    page.goto(f"{stack.urls['registry']}/account")
    page.get_by_label("What it is for").fill("reading")
    page.get_by_role("button", name="Make the token").click()
    expect(page.get_by_label("Token", exact=True)).to_be_visible()
    look("a token that was made")
    page.goto(f"{stack.urls['registry']}/schedules/new")
    page.get_by_label("Name", exact=True).fill("Odd")
    page.get_by_label("When", exact=True).fill("sometimes")
    page.get_by_role("button", name="Make the schedule").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look("a schedule that is refused")
    page.goto(f"{stack.urls['registry']}/sign-in")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    look("a sign-in that is refused")
    assert found == {}, json.dumps(found, indent=1)
