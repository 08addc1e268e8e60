"""A real browser on a running stack; screenshots of every page that a test ends on are kept as artefacts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.stack import Stack, running_stack

CHROMIUM = os.environ.get("PERDURA_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARTEFACTS = Path(os.environ.get("PERDURA_ARTEFACTS", ".artefacts")) / "browser"
expect.set_options(timeout=60_000)  # a busy machine is no failure
SETTINGS = {"PERDURA_ANNOUNCE_BUCKETS": "batches"}
AXE = Path(__file__).parent / "vendor" / "axe.min.js"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need a browser; without one they are skipped by name."""
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.stack)
        if CHROMIUM is None:
            item.add_marker(pytest.mark.skip(reason="no chromium here (apt-get install chromium)"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack of its own; `PERDURA_RUNNING_HOME` names one that runs already, with `SETTINGS`."""
    home = os.environ.get("PERDURA_RUNNING_HOME")
    if home is not None:
        yield Stack(Path(home))
        return
    with running_stack(SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Ended with its module: Playwright keeps an event loop that others would stumble over."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def complaints(page: Page) -> list[str]:
    """Collects what the browser complains about: script errors, blocked content, failed loads."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def _visit(context: BrowserContext, stack: Stack, name: str) -> Iterator[Page]:
    page = context.new_page()
    page.set_default_timeout(60_000)
    complained = complaints(page)
    page.goto(stack.urls["registry"])
    page.get_by_label("Access token").fill(stack.token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/archives")
    yield page
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{re.sub(r'[^a-z0-9]+', '-', name)}.png", full_page=True)
    context.close()
    assert complained == []


@pytest.fixture
def page(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A signed-in page; the test fails when the browser complained about anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield from _visit(context, stack, request.node.name)


@pytest.fixture
def plain_page(browser: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A signed-in page of a browser without JavaScript."""
    context = browser.new_context(java_script_enabled=False)
    yield from _visit(context, stack, request.node.name)


def guide_picture(page: Page, name: str) -> None:
    """A picture of the user guide: kept as an artefact, and where `PERDURA_GUIDE` says."""
    for folder in (ARTEFACTS / "guide", *(Path(given) for given in [os.environ.get("PERDURA_GUIDE")] if given)):
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")
