"""Signing in at a real identity provider: by code and PKCE for people, by client credentials for programs."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy.engine import Engine
from werkzeug.test import Client, TestResponse

from perdura.clients import oidc
from perdura.settings import Settings
from tests.contract.test_api.test_log_sight import log_of
from tests.contract.test_api.world import BASE, TOKEN, World, bearer, csrf_of
from tests.identity_provider import PASSWORD, ROBOT, IdentityProvider, identity_provider


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    """A provider that knows our client."""
    with identity_provider(f"{BASE}/sign-in/callback") as running:
        yield running


@pytest.fixture
def secured(world: World, provider: IdentityProvider) -> World:
    """An installation that signs people in at the provider."""
    return World(world.engine, _settings(provider))


def _settings(provider: IdentityProvider, **changes: str) -> Settings:
    return Settings(admin_token=TOKEN, base_url=BASE, **{**provider.settings(), **changes})  # type: ignore[arg-type]


def _at_the_provider(address: str, name: str, password: str = PASSWORD) -> str:
    """Authorise at the provider; gives back the address it sends the browser to."""
    with httpx.Client() as browser:
        form = browser.get(address)
        transaction = re.findall(r'name="transaction_id" value="([^"]+)"', form.text)[0]
        sent = {"transaction_id": transaction, "username": name, "password": password}
        return browser.post(address, data=sent).headers.get("location", "")


def _begin(client: Client, target: str = "") -> str:
    answer = client.get(f"/sign-in/start{target}", base_url=BASE)
    assert answer.status_code == 303
    return answer.headers["Location"]


def _come_back(client: Client, address: str) -> TestResponse:
    parts = urlsplit(address)
    return client.get(f"{parts.path}?{parts.query}", base_url=BASE)


def _sign_in(client: Client, name: str, target: str = "") -> TestResponse:
    return _come_back(client, _at_the_provider(_begin(client, target), name))


@pytest.mark.parametrize(
    ("name", "reading", "adding"), [("vera", 200, 403), ("dora", 200, 200), ("adam", 200, 200), ("nemo", 403, 403)]
)
def test_groups_become_roles(secured: World, name: str, reading: int, adding: int) -> None:
    client = secured.registry()
    answer = _sign_in(client, name, "?next=/add")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/add")
    assert client.get("/archives", base_url=BASE).status_code == reading
    assert client.get("/add", base_url=BASE).status_code == adding


def test_the_sign_in_page_offers_the_provider_and_no_token_form(secured: World) -> None:
    client = secured.registry()
    page = client.get("/sign-in?next=/events", base_url=BASE).text
    assert 'href="/sign-in/start?next=%2Fevents"' in page
    assert 'name="token"' not in page
    assert client.post("/sign-in", data={"token": TOKEN}, base_url=BASE).status_code == 403


def test_the_provider_is_asked_with_pkce_state_and_nonce(secured: World) -> None:
    sent = parse_qs(urlsplit(_begin(secured.registry())).query)
    assert sent["response_type"] == ["code"]
    assert sent["code_challenge_method"] == ["S256"]
    assert all(len(sent[name][0]) == 43 for name in ("state", "nonce", "code_challenge"))


def test_a_sign_in_is_good_once_and_in_the_browser_that_began_it(secured: World) -> None:
    mine, another = secured.registry(), secured.registry()
    _begin(another)
    address = _at_the_provider(_begin(mine), "adam")
    assert _come_back(another, address).status_code == 403
    assert _come_back(mine, address).status_code == 303
    assert _come_back(mine, address).status_code == 403


@pytest.mark.parametrize(
    "change",
    [("state=", "state=x"), ("code=", "code=x"), ("code=", "nothing="), ("state=", "iss=https://evil.test&state=")],
)
def test_what_was_changed_on_the_way_back_signs_nobody_in(secured: World, change: tuple[str, str]) -> None:
    client = secured.registry()
    address = _at_the_provider(_begin(client), "adam").replace(*change)
    answer = _come_back(client, address)
    assert answer.status_code == 403
    assert client.get("/archives", base_url=BASE).status_code == 303


def test_the_provider_keeps_out_who_does_not_know_the_password(secured: World) -> None:
    assert "code=" not in _at_the_provider(_begin(secured.registry()), "adam", "wrong")


def test_another_sign_in_gives_the_browser_another_session(secured: World) -> None:
    client = secured.registry()
    _sign_in(client, "adam")
    first = client.get_cookie("perdura_session", domain="registry.test")
    _sign_in(client, "vera")
    second = client.get_cookie("perdura_session", domain="registry.test")
    assert first is not None
    assert second is not None
    assert first.value != second.value
    thief = Client(client.application)
    thief.set_cookie("perdura_session", first.value, domain="registry.test")
    assert thief.get("/archives", base_url=BASE).status_code == 303


def test_signing_out_offers_to_sign_out_of_the_provider(secured: World, provider: IdentityProvider) -> None:
    client = secured.registry()
    _sign_in(client, "vera")
    page = client.get("/archives", base_url=BASE)
    answer = client.post("/sign-out", data={"csrf": csrf_of(page)}, base_url=BASE)
    assert answer.headers["Location"] == "/signed-out"
    assert f'href="{provider.issuer}/logout?client_id=' in client.get("/signed-out", base_url=BASE).text
    assert client.get("/archives", base_url=BASE).status_code == 303


def test_sign_ins_and_refusals_are_in_the_audit_log(secured: World) -> None:
    client = secured.registry()
    _sign_in(client, "adam")
    _come_back(client, "/sign-in/callback?state=x&code=y")
    told = [(entry.actor, entry.action, entry.outcome) for entry in secured.audited()]
    assert told == [
        ("adam", "signing_in.callback", "done"),
        ("adam", "signing_in.callback", "denied"),
    ]


def test_a_program_uses_its_own_token_and_the_role_it_was_given(secured: World, provider: IdentityProvider) -> None:
    client, header = secured.registry(), bearer(provider.token_of_robot())
    assert [client.get("/api/v1/archives", headers=header).status_code for _ in range(2)] == [403, 403]
    made = [entry for entry in secured.audited() if entry.action == "make_account"]
    assert [(entry.actor, entry.means, entry.detail["subject"]) for entry in made] == [(ROBOT, "service", ROBOT)]
    with secured.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET roles = '{depositor}' WHERE kind = 'service'")
    made = client.post("/api/v1/deposits", headers=header, json={"filename": "a.zip", "size": 1})
    assert made.status_code == 201
    assert secured.audited()[-1].actor == ROBOT
    assert secured.audited()[-1].means == "service"
    with secured.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET disabled_at = now() WHERE kind = 'service'")
    assert client.get("/api/v1/archives", headers=header).status_code == 401


def test_a_program_writes_to_the_premis_log_with_its_own_token_and_role(
    secured: World, provider: IdentityProvider
) -> None:
    log, header = log_of(secured), bearer(provider.token_of_robot())
    event = {"type": "fixity check", "date": "2026-01-01T00:00:00Z", "outcomes": ["success"]}
    assert log.post("/APP/event/", headers=header, json=event).status_code == 403
    with secured.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE account SET roles = '{archivist}' WHERE kind = 'service'")
    made = log.post("/APP/event/", headers=header, json=event)
    assert made.status_code == 201
    path = f"/event/{made.get_json()['identifier']}.history.json"
    assert [each["actor"] for each in log.get(path).get_json()] == [ROBOT]
    assert log.post("/APP/event/", headers=bearer("no.good.token"), json=event).status_code == 401


def test_a_programs_token_costs_no_write_per_request(secured: World, provider: IdentityProvider) -> None:
    client, header = secured.registry(), bearer(provider.token_of_robot())
    client.get("/api/v1/archives", headers=header)
    counting = secured.statements()
    seen = next(counting)
    client.get("/api/v1/archives/01900000-0000-7000-8000-000000000000/steps", headers=header)
    next(counting, None)
    assert not any(statement.startswith("INSERT INTO account") for statement in seen)


def test_a_token_for_another_audience_is_refused(world: World, provider: IdentityProvider) -> None:
    header = bearer(provider.token_of_robot())
    for changes in ({"oidc_audience": "another-api"}, {"oidc_audience": None}):
        client = World(world.engine, _settings(provider, **changes)).registry()  # type: ignore[arg-type]
        assert client.get("/api/v1/archives", headers=header).status_code == 401


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_forged_token_is_refused(secured: World, provider: IdentityProvider, part: int) -> None:
    parts = provider.token_of_robot().split(".")
    parts[part] = parts[part][:-4] + ("AAAA" if parts[part][-4:] != "AAAA" else "BBBB")
    answer = secured.registry().get("/api/v1/archives", headers=bearer(".".join(parts)))
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.",
        "..",
        "a.b.c",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.x",
        "9" * 3000 + ".9.9",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6WzFdfQ.e30.AAAA",
    ],
)
def test_what_is_no_token_of_the_provider_is_refused(secured: World, token: str) -> None:
    assert secured.registry().get("/api/v1/archives", headers=bearer(token)).status_code == 401


def test_a_provider_that_is_down_is_a_503_and_lets_nobody_in(engine: Engine, world: World) -> None:
    settings = Settings(admin_token=TOKEN, base_url=BASE, oidc_issuer="http://127.0.0.1:1", oidc_audience="a")  # type: ignore[call-arg]
    client = World(world.engine, settings).registry()
    assert client.get("/sign-in/start", base_url=BASE).status_code == 503
    assert client.get("/sign-in", base_url=BASE).status_code == 200
    forged = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ4In0.AAAA"
    assert client.get("/api/v1/archives", headers=bearer(forged)).status_code == 503


def test_a_provider_that_is_silent_holds_one_request_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "TURN_SECONDS", 0.1)
    asked, answer = threading.Semaphore(0), threading.Event()

    def ask(*_: Any, **__: Any) -> None:
        asked.release()
        answer.wait(20)
        raise oidc.UpstreamUnavailable("It is silent.")

    monkeypatch.setattr(oidc.Provider, "_ask", ask)
    settings = Settings(base_url=BASE, oidc_issuer="https://silent.example.org", oidc_audience="a")  # type: ignore[call-arg]
    client = World(world.engine, settings)
    forged = bearer("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ4In0.AAAA")
    first = threading.Thread(target=lambda: client.registry().get("/api/v1/archives", headers=forged))
    first.start()
    assert asked.acquire(timeout=20)
    assert client.registry().get("/api/v1/archives", headers=forged).status_code == 503
    answer.set()
    first.join()
    assert client.registry().get("/api/v1/archives", headers=forged).status_code == 503
    assert not asked.acquire(timeout=0.1)


def test_without_a_provider_there_is_nothing_to_begin(world: World) -> None:
    answer = world.registry().get("/sign-in/start", base_url=BASE)
    assert answer.status_code == 404


@pytest.mark.parametrize("issuer", ["http://id.example.org", "ftp://127.0.0.1/"])
def test_a_provider_is_asked_over_tls_only(world: World, issuer: str) -> None:
    settings = Settings(base_url=BASE, oidc_issuer=issuer)  # type: ignore[call-arg]
    assert World(world.engine, settings).registry().get("/sign-in/start", base_url=BASE).status_code == 500


def test_discovery_has_to_name_the_configured_issuer(world: World, provider: IdentityProvider) -> None:
    settings = _settings(provider, oidc_issuer=provider.issuer.replace("127.0.0.1", "localhost"))
    with pytest.raises(oidc.Broken, match="calls itself"):
        oidc.provider(settings).metadata()
