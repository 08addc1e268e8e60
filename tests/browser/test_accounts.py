"""People sign in at a real identity provider, and each sees and does what their role allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.conftest import ARTEFACTS
from tests.browser.test_accessibility import WIDE, findings
from tests.identity_provider import PASSWORD, identity_provider
from tests.stack import Stack, bag_tar


@dataclass
class Secured:
    """A stack whose people sign in at a provider, with one restricted and failed Archive in it."""

    registry: str
    archive: str
    failed: str


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    """A stack that is told of its provider once its address is known, and filled before that."""
    with TemporaryDirectory(prefix="perdura-", ignore_cleanup_errors=True) as folder:
        first = Stack(Path(folder) / "home")
        first.up()
        try:
            registry = first.urls["registry"]
            archive = first.deposit(b"this is no bag", filename="nothing.zip", title="Sealed minutes")
            first.finished(archive)
            with first.database.begin() as connection:
                connection.exec_driver_sql("UPDATE archive SET restricted = true")
            open_one = first.deposit(bag_tar({"a.txt": b"a" * 500}), title="Open letters")
            first.finished(open_one)
            missing = f"{first.urls['upstream']}/records/aaaaa-bbbbb"
            failed = first.api.post("/harvests", json={"url": missing}).json()
            first.finished(failed["archive"])
            first.api.close()
            first.database.dispose()
        finally:
            first.down()
        with identity_provider(f"{registry}/sign-in/callback") as provider:
            own = {f"PERDURA_{name.upper()}": value for name, value in provider.settings().items()}
            stack = Stack(Path(folder) / "home", own)
            stack.up()
            try:
                yield Secured(registry, archive, failed["archive"])
            finally:
                stack.down()


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What the browser says against our own pages; the provider's are its business."""
    found: list[str] = []
    yield found
    assert found == []


def _visit(context: BrowserContext, secured: Secured, complaints: list[str]) -> Page:
    def note(message: ConsoleMessage) -> None:
        refused = "status of 403" in message.text or "status of 404" in message.text
        if message.type == "error" and message.location["url"].startswith(secured.registry) and not refused:
            complaints.append(message.text)

    page = context.new_page()
    page.set_default_timeout(60_000)
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


def _sign_in(page: Page, secured: Secured, name: str, target: str = "/archives") -> None:
    page.goto(secured.registry + target)
    page.get_by_role("link", name="Sign in with the test provider").click()
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{secured.registry}{target}")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_a_depositor_makes_a_token_and_is_refused_what_an_archivist_may(
    browser: Browser, secured: Secured, complaints: list[str], scripts: bool
) -> None:
    context = browser.new_context(java_script_enabled=scripts)
    page = _visit(context, secured, complaints)
    _sign_in(page, secured, "dora", "/archives")
    expect(page.get_by_role("link", name="Open letters")).to_be_visible()
    expect(page.get_by_text("Sealed minutes")).to_have_count(0)
    page.get_by_role("link", name="dora").click()
    page.get_by_label("What it is for").fill("nightly deposits")
    page.get_by_label("deposit", exact=True).check()
    page.get_by_role("button", name="Make the token").click()
    token = page.get_by_label("Token", exact=True).input_value()
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.locator("#secret").evaluate("field => field.value = 'perdura_…'") if scripts else None
    page.screenshot(path=ARTEFACTS / f"account-{'scripts' if scripts else 'plain'}.png", full_page=True)
    with httpx.Client(base_url=f"{secured.registry}/api/v1", headers={"Authorization": f"Bearer {token}"}) as api:
        assert api.get("/archives").status_code == 200
        assert api.get("/users/me").status_code == 403
        assert api.post(f"/archives/{secured.archive}/retry").status_code == 403
        assert api.get(f"/archives/{secured.archive}").status_code == 404
        assert api.post("/deposits", json={"filename": "a.zip", "size": 1}).status_code == 201
    for address, words in (("/administration/users", "Forbidden"), (f"/archives/{secured.archive}", "Not Found")):
        page.goto(secured.registry + address)
        expect(page.get_by_role("heading", name=words)).to_be_visible()
    page.goto(secured.registry + "/account")
    page.get_by_role("button", name="End nightly deposits").first.click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
    page.goto(secured.registry + "/archives")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    context.close()


def test_an_archivist_sees_and_retries_what_a_depositor_does_not(
    browser: Browser, secured: Secured, complaints: list[str]
) -> None:
    context = browser.new_context()
    page = _visit(context, secured, complaints)
    _sign_in(page, secured, "arno", f"/archives/{secured.archive}")
    expect(page.get_by_role("heading", name="Sealed minutes")).to_be_visible()
    expect(page.get_by_role("link", name="Administration")).to_have_count(0)
    page.get_by_role("link", name="Failures").click()
    expect(page.locator(".causes")).to_contain_text("Harvest")
    page.goto(f"{secured.registry}/archives/{secured.failed}")
    expect(page.get_by_role("alert")).to_contain_text("Harvest failed.")
    page.get_by_role("button", name="Retry Harvest").click()
    expect(page.locator(".timeline")).to_contain_text("attempt 2")
    expect(page.locator("article [role=status]")).to_contain_text("Failed")
    page.screenshot(path=ARTEFACTS / "retried.png", full_page=True)
    page.goto(f"{secured.registry}/administration/users")
    expect(page.get_by_role("heading", name="Forbidden")).to_be_visible()
    context.close()


def test_an_administrator_gives_a_role_and_reads_who_did_what(
    browser: Browser, secured: Secured, complaints: list[str]
) -> None:
    theirs, context = browser.new_context(), browser.new_context(bypass_csp=True)
    nemo, page = _visit(theirs, secured, complaints), _visit(context, secured, complaints)
    nemo.goto(secured.registry + "/account")
    _sign_in(nemo, secured, "nemo", "/account")
    expect(nemo.get_by_text("none yet; ask an administrator")).to_be_visible()
    nemo.goto(secured.registry + "/archives")
    expect(nemo.get_by_role("heading", name="Forbidden")).to_be_visible()
    _sign_in(page, secured, "adam", "/administration/users")
    page.get_by_role("link", name="nemo").click()
    page.get_by_label("viewer").check()
    page.get_by_role("button", name="Save the roles").click()
    nemo.reload()
    expect(nemo.get_by_role("link", name="Open letters")).to_be_visible()
    page.goto(secured.registry + "/audit")
    expect(page.get_by_role("cell", name="denied 403").first).to_be_visible()
    found: dict[str, list[str]] = {}
    for address in ("/audit", "/account", "/administration/users", "/administration/grants",
                    "/administration/pipelines", "/administration/settings"):  # fmt: skip
        page.goto(secured.registry + address)
        name = address.strip("/").replace("/", "-")
        page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
        if wrong := findings(page) + [f"too wide: {wide}" for wide in page.evaluate(WIDE)]:
            found[address] = wrong
    assert found == {}
    theirs.close()
    context.close()
