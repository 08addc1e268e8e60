"""The pages of accounts, administration and the audit log; they work without JavaScript."""

from __future__ import annotations

import html
import re
from uuid import UUID

import pytest
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts import rights
from perdura.web import administration
from tests.contract.test_api.test_rights import _become as become
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in

PAGES = [
    "/administration/users",
    "/administration/grants",
    "/administration/pipelines",
    "/administration/settings",
]


@pytest.fixture
def browser(world: World, registry: Client) -> Client:
    """A browser that is signed in as the administrator."""
    sign_in(registry)
    return registry


def _post(browser: Client, address: str, **fields: object) -> tuple[int, str]:
    csrf = csrf_of(browser.get("/account", base_url=BASE))
    answer = browser.post(address, data={"csrf": csrf, **fields}, base_url=BASE)
    return answer.status_code, html.unescape(answer.text)


@pytest.mark.parametrize("address", [*PAGES, "/account", "/audit"])
def test_the_administrator_sees_every_page(browser: Client, address: str) -> None:
    answer = browser.get(address, base_url=BASE)
    assert answer.status_code == 200
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?! src=)|style=|\son\w+=", answer.text)


@pytest.mark.parametrize(
    ("role", "seen"),
    [
        ("viewer", {"/account"}),
        ("depositor", {"/account"}),
        ("archivist", {"/account"}),
        ("auditor", {"/account", "/audit"}),
        ("administrator", {"/account", "/audit", *PAGES}),
    ],
)
def test_every_role_sees_its_own_pages(world: World, browser: Client, role: str, seen: set[str]) -> None:
    become(world, role)
    for address in (*PAGES, "/account", "/audit"):
        expected = 200 if address in seen else 403
        assert browser.get(address, base_url=BASE).status_code == expected, address
    start = browser.get("/archives", base_url=BASE).text
    assert ("Administration" in start) is (role == "administrator")
    assert ("Audit log" in start) is ("/audit" in seen)


def test_a_token_is_made_shown_once_and_ended(world: World, browser: Client) -> None:
    status, page = _post(browser, "/account/tokens", name="nightly <b>", days="30", scope=["read"])
    assert status == 200
    secret = re.findall(r'value="(perdura_[^"]+)"', page)[0]
    assert world.registry().get("/api/v1/archives", headers=bearer(secret)).status_code == 200
    again = browser.get("/account", base_url=BASE).text
    assert secret not in again
    assert "nightly &lt;b&gt;" in again
    ends = re.findall(r'action="(/account/tokens/[^"]+/end)"', again)
    assert _post(browser, ends[0])[0] == 303
    assert world.registry().get("/api/v1/archives", headers=bearer(secret)).status_code == 401


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "", "days": "30", "scope": ["read"]}, "form.name"),
        ({"name": "x", "days": "30"}, "form.scopes"),
        ({"name": "x", "days": "soon", "scope": ["read"]}, "form.days"),
        ({"name": "x", "days": "30", "scope": ["emperor"]}, "form.scopes.0"),
    ],
)
def test_what_is_wrong_with_a_token_is_said_on_its_form(browser: Client, fields: dict[str, object], said: str) -> None:
    status, page = _post(browser, "/account/tokens", **fields)
    assert status == 422
    assert said in page


def test_roles_are_given_and_accounts_shut_and_opened(world: World, browser: Client) -> None:
    account = world.account("viewer", name="Grace <Hopper>")
    theirs, address = bearer(world.token(account)), f"/administration/users/{account}"
    assert "Grace &lt;Hopper&gt;" in browser.get("/administration/users?q=grace", base_url=BASE).text
    assert _post(browser, address, role=["archivist", "auditor"])[0] == 303
    me = world.registry().get("/api/v1/users/me", headers=theirs).json
    assert me is not None
    assert me["roles"] == ["archivist", "auditor"]
    assert _post(browser, address, disabled="yes")[0] == 303
    assert world.registry().get("/api/v1/users/me", headers=theirs).status_code == 401
    assert _post(browser, address, disabled="no")[0] == 303
    token = re.findall(rf'action="({address}/tokens/[^"]+/end)"', browser.get(address, base_url=BASE).text)[0]
    assert _post(browser, token)[0] == 303
    assert world.registry().get("/api/v1/users/me", headers=theirs).status_code == 401
    log = browser.get("/audit", base_url=BASE).text
    assert "administration.change_user" in log
    assert "administration.end_token" in log


def test_the_audit_log_is_looked_through_by_days(world: World, browser: Client) -> None:
    with world.engine.begin() as connection:
        for day in ("2026-01-01T23:00Z", "2026-01-02T12:00Z", "2026-01-03T01:00Z"):
            connection.execute(
                text("INSERT INTO audit_entry (at, actor, means, action, outcome, method, path, status) "
                     "VALUES (CAST(:at AS timestamptz), 'A', 'token', :action, 'done', 'POST', '/x', 200)"),
                {"at": day, "action": f"on_{day[8:10]}"},
            )  # fmt: skip
    page = browser.get("/audit?since=2026-01-02&until=2026-01-02", base_url=BASE).text
    assert re.findall(r"on_0\d", page) == ["on_02"]
    assert page.count('value="2026-01-02"') == 2
    assert browser.get("/audit?since=2026-01-02&until=", base_url=BASE).text.count("on_01") == 0
    assert browser.get("/audit?until=never", base_url=BASE).status_code == 422


def test_a_grant_is_given_and_taken_back(world: World, browser: Client) -> None:
    account, archive = world.account("viewer"), world.archive(restricted=True)
    theirs = bearer(world.token(account))
    fields = {"holder_kind": "user", "holder": str(account), "object_kind": "archive", "object": str(archive)}
    assert _post(browser, "/administration/grants", **fields)[0] == 303
    assert world.registry().get(f"/api/v1/archives/{archive}", headers=theirs).status_code == 200
    page = browser.get("/administration/grants", base_url=BASE).text
    take = re.findall(r'action="(/administration/grants/[^"]+/take)"', page)[0]
    assert _post(browser, take)[0] == 303
    assert world.registry().get(f"/api/v1/archives/{archive}", headers=theirs).status_code == 404


def test_what_was_granted_is_found_behind_all_that_depositors_made(world: World, browser: Client) -> None:
    archive, collection = world.archive(restricted=True), world.collection()
    world.grant(group_name="theses", archive_id=archive)
    world.grant(group_name="reports", collection_id=collection)
    account = world.account("depositor")
    made = [world.archive() for _ in range(administration.PAGE + 2)]
    with world.engine.begin() as connection:
        rights.own_for(connection, account, made, given_by="Ada")
    page = browser.get("/administration/grants", base_url=BASE).text
    assert "group theses" in page
    assert page.count("/take") == 2
    for filters, shown in (
        ("group=theses", [archive]), ("group=none", []), (f"archive={archive}", [archive]),
        (f"collection={collection}", [collection]), (f"user={account}", []), (f"user={account}&own=yes", []),
    ):  # fmt: skip
        page = browser.get(f"/administration/grants?{filters}", base_url=BASE).text
        assert [each for each in (archive, collection, made[0]) if f"<code>{each}</code>" in page] == shown
    following = html.unescape(re.findall(r'rel="next" href="([^"]+)"', page)[0])
    older = browser.get(following, base_url=BASE).text
    assert older.count("/take") == 2
    assert f"<code>{made[0]}</code>" in older
    wrong = browser.get("/administration/grants?user=nobody", base_url=BASE)
    assert (wrong.status_code, 'role="alert"' in wrong.text) == (422, True)


@pytest.mark.parametrize(
    "fields",
    [
        {"holder_kind": "user", "holder": "nobody", "object_kind": "archive", "object": str(UUID(int=1))},
        {"holder_kind": "group", "holder": "g", "object_kind": "archive", "object": str(UUID(int=1))},
        {"holder_kind": "x", "holder": "g", "object_kind": "y", "object": "z"},
    ],
)
def test_what_is_wrong_with_a_grant_is_said_on_its_form(browser: Client, fields: dict[str, str]) -> None:
    status, page = _post(browser, "/administration/grants", **fields)
    assert status in {404, 422}
    assert 'role="alert"' in page


def test_a_pipeline_is_saved_when_its_steps_can_follow_one_another(world: World, browser: Client) -> None:
    good = {"name": "quick", "steps": "ingest preserve", "description": "No tape."}
    assert _post(browser, "/administration/pipelines", **good)[0] == 303
    assert 'value="ingest preserve"' in browser.get("/administration/pipelines", base_url=BASE).text
    status, page = _post(browser, "/administration/pipelines", name="wrong", steps="publish ingest", description="")
    assert status == 422
    assert "cannot begin with" in page
    assert world.audited()[-1].action == "administration.save_pipeline"


def test_a_pipeline_is_removed_unless_the_platform_itself_begins_it(world: World, browser: Client) -> None:
    _post(browser, "/administration/pipelines", name="quick", steps="ingest preserve", description="")
    address = "/administration/pipelines/quick/remove"
    assert f'action="{address}"' in browser.get("/administration/pipelines", base_url=BASE).text
    assert world.registry().post(address, headers=world.bearer("archivist"), base_url=BASE).status_code == 403
    assert _post(browser, address)[0] == 303
    page = browser.get("/administration/pipelines", base_url=BASE).text
    assert "quick" not in page
    assert "/administration/pipelines/deposit/remove" not in page
    assert _post(browser, "/administration/pipelines/deposit/remove")[0] == 409


def test_forms_of_another_site_change_nothing(world: World, browser: Client) -> None:
    account = world.account("viewer")
    for address in ("/account/tokens", f"/administration/users/{account}", "/administration/grants"):
        assert browser.post(address, data={"csrf": "wrong", "role": "administrator"}, base_url=BASE).status_code == 403
    assert [entry.outcome for entry in world.audited()][-3:] == ["denied"] * 3


def test_settings_are_shown_without_secrets(browser: Client) -> None:
    page = browser.get("/administration/settings", base_url=BASE).text
    assert "PERDURA_ADMIN_TOKEN" in page
    assert "set, and secret" in page
    assert "the-administrators-token" not in page
