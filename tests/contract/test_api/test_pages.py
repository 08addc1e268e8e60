"""The pages for people, without a browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from werkzeug.test import Client

from perdura.accounts import rights
from perdura.accounts.principals import LOCAL_ADMINISTRATOR
from perdura.api.queries import archives
from perdura.api.resources import harvests
from perdura.errors import Rejected
from perdura.ids import new_id
from perdura.registry.tables import Deposit, Publication
from perdura.runtime import jobs as running
from perdura.settings import Settings
from perdura.sources import resolve
from perdura.sources.profile import profiles
from perdura.web import event_pages
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in


@pytest.fixture
def person(registry: Client) -> Client:
    """A signed-in person."""
    sign_in(registry)
    return registry


def _get(person: Client, address: str) -> str:
    answer = person.get(address, base_url=BASE)
    assert answer.status_code == 200
    return answer.text


def test_the_list_counts_states_and_keeps_filters_in_the_address(world: World, person: Client) -> None:
    world.archive(title="One")
    world.archive(title="Two", state="failed")
    page = _get(person, "/archives?state=failed&q=Two")
    assert "Two" in page
    assert "One" not in page
    assert "/archives?state=failed&amp;q=Two" in page or "/archives?q=Two&amp;state=failed" in page


def test_a_running_archive_is_followed_and_a_final_one_is_not(world: World, person: Client) -> None:
    running, final = world.archive(state="running"), world.archive(state="completed")
    world.step(running, "ingest", 0, "running", progress={"what": "verifying", "done": 1, "total": 4})
    assert f'hx-get="/archives/{running}/live"' in _get(person, f"/archives/{running}")
    assert 'max="4" value="1"' in _get(person, f"/archives/{running}/live")
    assert "hx-get" not in _get(person, f"/archives/{final}/live")


def test_a_rejection_lists_every_reason_and_offers_no_retry(world: World, person: Client) -> None:
    archive = world.archive(state="rejected", title="<img src=x onerror=alert(1)>")
    findings = [
        {"code": "digest", "severity": "invalid", "message": "Not its digest.", "path": "data/<b>.txt"},
        {"code": "date", "severity": "warning", "message": "No date."},
    ]
    world.step(archive, "ingest", 0, "failed", error_code="rejected", error_message="No.", findings=findings)
    page = _get(person, f"/archives/{archive}")
    assert "Not its digest." in page
    assert "No date." in page
    assert "<b>.txt" not in page
    assert "<img src=x" not in page
    assert "/retry" not in page


def test_a_failed_archive_can_be_retried(world: World, person: Client) -> None:
    archive = world.archive(state="failed")
    world.step(archive, "ingest", 0, "failed", error_code="x", error_message="The store was down.")
    page = person.get(f"/archives/{archive}", base_url=BASE)
    assert "The store was down." in page.text
    answer = person.post(f"/archives/{archive}/retry", base_url=BASE, data={"csrf": csrf_of(page)})
    answer.close()
    assert answer.status_code == 303
    assert len(world.emitter.sent) == 1
    assert "attempt 2" in _get(person, f"/archives/{archive}")


def test_failures_are_grouped_and_retried_together(world: World, person: Client) -> None:
    for _ in range(3):
        archive = world.archive(state="failed")
        world.step(archive, "preserve", 1, "failed", error_code="full", error_message="Disk full.")
        world.step(archive, "preserve", 1, "failed", attempt=2, error_code="full", error_message="Disk full.")
    other = world.archive(state="blocked")
    world.step(other, "ingest", 0, "blocked")
    page = person.get("/failures?step=preserve&code=full&state=failed", base_url=BASE)
    assert "<strong>3</strong> Archives" in page.text
    assert page.text.count("Disk full.") == 4
    form = {"csrf": csrf_of(page), "step": "preserve", "code": "full", "state": "failed"}
    person.post("/failures/retry", base_url=BASE, data=form).close()
    assert len(running.tick(world)) == 3  # type: ignore[arg-type]
    left = _get(person, "/failures")
    assert "Disk full." not in left
    assert "no code" in left


def test_events_are_searched_by_type_and_object(world: World, person: Client) -> None:
    archive = world.archive(title="The one")
    world.premis(archive, "ingestion", "validation")
    world.premis(world.archive(title="Other"), "ingestion")
    everything = _get(person, "/events")
    assert "The one" in everything
    assert "Other" in everything
    by_object = _get(person, f"/events?object={archive}")
    assert "Other" not in by_object
    assert "validation of it" not in _get(person, f"/events?object={archive}&type=ingestion")
    assert "No events match" in _get(person, "/events?outcome=fail")


def test_events_are_searched_by_days_and_agent(world: World, person: Client) -> None:
    archive = world.archive(title="The one")
    today, tomorrow = (datetime.now(UTC).date() + timedelta(days=days) for days in (0, 1))
    world.premis(archive, "ingestion")
    only = f"/events?object={archive}"
    assert "ingestion of it" in _get(person, f"{only}&from={today}&to={today}")
    assert "No events match" in _get(person, f"{only}&from={tomorrow}")
    assert "No events match" in _get(person, f"{only}&to={today - timedelta(days=1)}")
    assert "ingestion of it" in _get(person, f"{only}&agent=perdura")
    assert "No events match" in _get(person, f"{only}&agent=nobody")
    shown = _get(person, f"/events?agent=nobody&from={today}")
    assert f'value="{today}"' in shown
    assert 'value="nobody"' in shown


def test_pages_of_events_keep_their_filters(world: World, person: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pages, "PAGE", 2)
    archive = world.archive()
    world.premis(archive, "ingestion", "validation", "storage")
    first = _get(person, f"/events?object={archive}&agent=perdura&from=2020-01-01")
    following = first.split('rel="next" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
    rest = _get(person, following)
    assert [("ingestion of it" in page, "storage of it" in page) for page in (first, rest)] == [
        (False, True),
        (True, False),
    ]
    assert 'rel="next"' not in rest


@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_no_date_is_named(person: Client, name: str) -> None:
    answer = person.get(f"/events?{name}=31.12.", base_url=BASE)
    assert answer.status_code == 422
    assert f"query.{name}" in answer.text


def test_events_of_what_somebody_may_not_see_are_not_found(world: World) -> None:
    account = world.account("viewer")
    hidden, granted = (world.archive(restricted=True, title=f"Secret {name}") for name in ("hidden", "granted"))
    world.grant(archive_id=granted, account_id=account)
    for archive in (hidden, granted):
        world.premis(archive, "ingestion")
    client, header = world.registry(), bearer(world.token(account))
    shut = client.get(f"/events?object={hidden}&agent=perdura", base_url=BASE, headers=header).text
    assert "No events match" in shut
    assert "Secret granted" in client.get(f"/events?object={granted}", base_url=BASE, headers=header).text


def test_adding_an_unknown_address_says_so(person: Client) -> None:
    page = person.get("/add", base_url=BASE)
    for address in ("/add/preview", "/add/harvest"):
        answer = person.post(address, base_url=BASE, data={"csrf": csrf_of(page), "url": "ftp://x/1"})
        assert 'role="alert"' in answer.text
        assert answer.status_code in {200, 422}


@pytest.mark.parametrize("query", ["state=nonsense", "cursor=x", "limit=0", "limit=x", "q=" + "x" * 300])
def test_wrong_filters_are_a_page_that_says_so(person: Client, query: str) -> None:
    answer = person.get(f"/archives?{query}", base_url=BASE)
    assert answer.status_code == 422
    assert answer.mimetype == "text/html"


def test_what_is_not_there_is_a_page(person: Client) -> None:
    for address in (f"/archives/{new_id()}", "/nothing", "/archives/1"):
        answer = person.get(address, base_url=BASE)
        assert answer.status_code == 404
        assert answer.mimetype == "text/html"


def test_signing_out_ends_the_session(person: Client) -> None:
    token = csrf_of(person.get("/archives", base_url=BASE))
    assert person.post("/sign-out", base_url=BASE, data={"csrf": token}).status_code == 303
    assert person.get("/archives", base_url=BASE).status_code == 303


def test_a_preview_is_asked_for_as_a_harvest_is(world: World, person: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one's own credential, and within what the host allows: what is private is seen, and nobody is rushed."""
    asked: dict[str, Any] = {}

    def preview(url: str, settings: Settings, **how: Any) -> None:
        asked.update(how, url=url, secret=how["token"]("gitlab"))
        with how["budget"](profiles(settings)["gitlab"]) as budget:
            asked["waits"] = budget is not None
        raise Rejected("Not there.")

    monkeypatch.setattr(resolve, "preview", preview)
    monkeypatch.setattr(harvests, "credential_of", lambda _engine, _settings, account, source: f"{account} {source}")
    token = csrf_of(person.get("/add", base_url=BASE))
    sent = {"csrf": token, "url": "https://gitlab.cern.ch/a/b"}
    assert "Not there." in person.post("/add/preview", data=sent, base_url=BASE).text
    assert asked["secret"] == f"{LOCAL_ADMINISTRATOR} gitlab"
    assert asked["waits"]


def test_a_depositor_restricts_on_its_page_what_is_their_own(world: World, registry: Client) -> None:
    account, archive = world.account("depositor"), world.archive()
    mine, other = bearer(world.token(account)), world.bearer("depositor")
    with world.engine.begin() as connection:
        values = {"id": new_id(), "archive_id": archive, "bucket": "b", "key": "k", "filename": "a.zip"}
        connection.execute(insert(Deposit).values(**values, account_id=account))
        rights.own_for(connection, account, [archive], given_by="Ada")
    page, form = f"/archives/{archive}", f'action="/archives/{archive}/restriction"'
    statements = world.statements()
    seen = next(statements)
    assert form in registry.get(page, headers=mine).text
    assert len(seen) <= 10
    next(statements, None)
    assert form not in registry.get(page, headers=other).text
    assert registry.post(f"{page}/restriction", headers=other, data={"restricted": "yes"}).status_code == 403
    assert registry.post(f"{page}/restriction", headers=mine, data={"restricted": "yes"}).status_code == 303
    assert registry.get(page, headers=other).status_code == 404
    restricted = registry.get(page, headers=mine)
    assert (restricted.status_code, form in restricted.text) == (200, False)
    assert registry.post(f"{page}/restriction", headers=mine, data={"restricted": "no"}).status_code == 403


def test_what_a_restriction_reaches_is_said_as_it_is(world: World, person: Client) -> None:
    archive = world.archive()
    with world.engine.begin() as connection:
        place = {"destination": "zenodo", "url": "https://zenodo.test/1"}
        connection.execute(insert(Publication).values(archive_id=archive, **place))
    page = _get(person, f"/archives/{archive}")
    assert "A step restricts it on the access systems of others, too" in page
    assert "does not reach" not in page


def test_an_archive_in_thousands_of_collections_shows_the_first(
    world: World, person: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "COLLECTIONS_SHOWN", 2)
    archive = world.archive()
    for name in ("C", "A", "B"):
        world.collection(archive, name=name)
    page = _get(person, f"/archives/{archive}")
    assert re.findall(r'href="/collections/[^"]+">([ABC])<', page) == ["A", "B"]
    assert "These are the first 2 by name." in page


def test_no_name_reads_as_another_by_turning_its_direction(world: World, person: Client) -> None:
    archive = world.archive(title="invoice\u202efdp.exe")
    world.aip(archive, {"data/objects/photo\u2067gpj.exe": b"MZ"})
    for address in ("/archives", f"/archives/{archive}", f"/archives/{archive}/files"):
        page = _get(person, address)
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", page)
        assert ("invoice[U+202E]fdp.exe" in page) or "photo[U+2067]gpj.exe" in page


def test_what_a_form_sends_back_is_what_it_was_given(world: World, person: Client) -> None:
    """Isolates are legitimate in Hebrew and Arabic: shown in text, left alone in fields."""
    name = "\u2067אוסף\u2069"
    collection = world.collection(name=name)
    page = _get(person, f"/collections/{collection}")
    assert f'value="{name}"' in page
    assert "[U+2067]אוסף" in page
