"""The pages of the PREMIS log in a real browser, also without JavaScript: they are made of HTML alone."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from inspect import isfunction
from threading import Thread
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy.engine import Engine
from werkzeug.test import Client
from werkzeug.wrappers import Response

from perdura.premis.service import pages
from perdura.settings import Settings
from tests.browser.conftest import ARTEFACTS, complaints
from tests.browser.test_accessibility import RULES, WIDE, findings
from tests.contract.test_premis.conftest import engine, postgres
from tests.contract.test_premis.test_http import UNT, entry, service_application

__all__ = ["engine", "postgres"]

TOKEN = "of-the-browser-test"
PUBLIC = [
    name for name, page in vars(pages).items()
    if isfunction(page) and page.__module__ == pages.__name__ and not name.startswith("_")
]  # fmt: skip
"""The pages of the log, its style sheet and what its forms are sent to."""

AGENT = "http://example.org/agent?x=1&y=<2>"
PAGES = ["/event/", "/event/{id}/", "/event/search/", "/event/search/?start_date=soon", "/event/search/?page=99",
         "/event/statistics/", "/agent/", "/agent/new/", "/agent/{agent}/", "/agent/{agent}/edit/"]  # fmt: skip


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def identifier() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def address(engine: Engine, identifier: str) -> Iterator[str]:
    """The log with 230 events, on a port of its own."""
    open_settings = Settings(premis_open_writes=True)  # type: ignore[call-arg]
    client = Client(service_application(engine, open_settings))
    note = "<p:eventDetail>&lt;script>alert(1)&lt;/script> &amp; more</p:eventDetail>"
    for number in range(229):
        outcome = UNT + f"eventOutcomes/#{'failure' if number % 20 == 0 else 'success'}"
        date = f"2024-03-{number % 28 + 1:02d}T08:00:00Z"
        client.post("/APP/event/", data=entry(date=date, outcome=outcome, objects=(f"ark:/67531/coda{number % 3}",)))
    client.post("/APP/event/", data=entry(identifier, date="2024-05-01T00:00:00Z", inner=note))
    settings = Settings(admin_token=TOKEN, premis_message="Closed on Sunday")  # type: ignore[call-arg,arg-type]
    with make_server("127.0.0.1", 0, service_application(engine, settings), handler_class=_Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(params=["with script", "without script"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=request.param == "with script")
    page = context.new_page()
    found = complaints(page)
    yield page
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)
    page.screenshot(path=ARTEFACTS / f"premis-{name}.png", full_page=True)
    context.close()
    assert [each for each in found if "status of 4" not in each] == []


def test_from_the_newest_events_to_one_and_its_other_forms(page: Page, address: str, identifier: str) -> None:
    page.goto(f"{address}/")
    expect(page.get_by_text("There are 230 total events.")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("Closed on Sunday")
    page.get_by_role("link", name=identifier).click()
    expect(page).to_have_title(re.compile(identifier))
    expect(page.get_by_text("<script>alert(1)</script> & more")).to_be_visible()
    expect(page.get_by_text("ark:/67531/coda1")).to_be_visible()
    for link in page.get_by_role("main").get_by_role("link").all():
        target = link.get_attribute("href") or ""
        assert page.request.get(target if target.startswith("http") else address + target).ok, target


def test_searching_and_paging(page: Page, address: str) -> None:
    page.goto(f"{address}/event/search/")
    expect(page.get_by_text("230 events found.")).to_be_visible()
    page.get_by_role("link", name="next").click()
    expect(page.get_by_role("row")).to_have_count(31)
    page.get_by_role("link", name="first").click()
    page.get_by_label("Outcome").select_option(label="Failure")
    page.get_by_label("From").fill("2024-03-01")
    page.get_by_label("To").fill("03/31/2024")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("12 events found.")).to_be_visible()
    expect(page.get_by_label("Outcome")).to_have_value(UNT + "eventOutcomes/#failure")
    page.get_by_label("Linked object").fill("coda1")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("4 events found.")).to_be_visible()


def test_a_search_that_cannot_be_made_says_why(page: Page, address: str) -> None:
    page.goto(f"{address}/event/search/?start_date=soon")
    expect(page.get_by_role("alert")).to_contain_text("Enter a valid date.")
    expect(page.get_by_label("From")).to_have_value("soon")


def test_counts_are_drawn_and_lead_to_what_they_count(page: Page, address: str) -> None:
    page.goto(f"{address}/event/statistics/")
    page.get_by_role("link", name=UNT + "eventOutcomes/#failure").click()
    expect(page.get_by_text("12 events found.")).to_be_visible()


def test_an_agent_is_made_and_changed_by_who_has_the_token(page: Page, address: str) -> None:
    own = f"{AGENT}{uuid.uuid4().hex}"
    page.goto(f"{address}/agent/new/")
    page.get_by_label("Identifier").fill(own)
    page.get_by_label("Name").fill("Fixity <b>checker</b>")
    page.get_by_label("Note").fill("Runs at night")
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("Name")).to_have_value("Fixity <b>checker</b>")
    page.get_by_label("Access token").fill(TOKEN)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Fixity <b>checker</b>")).to_be_visible()
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Name").fill("Another name")
    page.get_by_label("Access token").fill(TOKEN)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Another name")).to_be_visible()
    page.goto(f"{address}/agent/")
    expect(page.get_by_role("link", name=own)).to_be_visible()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the pages that are shown from now on."""
    seen: set[str] = set()

    def noted(name: str, page: Callable[..., Response]) -> Callable[..., Response]:
        def show(*given: str) -> Response:
            seen.add(name)
            return page(*given)

        return show

    for name in PUBLIC:
        monkeypatch.setattr(pages, name, noted(name, getattr(pages, name)))
    return seen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("look", list(RULES))
def test_no_page_shuts_anybody_out(browser: Browser, address: str, identifier: str, look: str, shown: set[str]) -> None:
    context = browser.new_context(
        color_scheme="dark" if look == "dark" else "light",
        viewport={"width": 360 if look == "narrow" else 1280, "height": 800},
        bypass_csp=True,
    )
    page = context.new_page()
    problems: list[str] = []

    def examine(name: str) -> None:
        problems.extend(f"{name}: {each}" for each in findings(page, look))
        problems.extend(f"{name} is too wide: {each}" for each in page.evaluate(WIDE))

    agent = quote(_made_agent(page, address), safe="")
    for path in PAGES:
        page.goto(address + path.format(id=identifier, agent=agent))
        examine(path)
    page.get_by_label("Access token").fill("wrong")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_visible()
    examine("a form that is refused")
    context.close()
    assert problems == []
    assert shown == set(PUBLIC), "every page has to be looked at here"


def _made_agent(page: Page, address: str) -> str:
    """The identifier of an agent that was made with the form."""
    identifier = f"{AGENT}{uuid.uuid4().hex}"
    page.goto(f"{address}/agent/new/")
    for label, value in (("Identifier", identifier), ("Name", "A checker"), ("Note", "1"), ("Access token", TOKEN)):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="A checker")).to_be_visible()
    return identifier
