"""Sessions and tokens as they live in the database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.test import Client

from perdura.accounts import directory, sessions, tokens
from perdura.accounts.directory import Identity
from perdura.accounts.principals import LOCAL_ADMINISTRATOR, Permission, Role
from perdura.settings import Settings
from tests.contract.test_api.world import BASE, TOKEN, World, bearer, sign_in

LATER = timedelta(minutes=16)


def test_a_secret_is_replaced_once_the_browser_has_shown_the_new_one(world: World) -> None:
    now = datetime.now(UTC)
    with world.engine.begin() as connection:
        first = sessions.begin(connection, LOCAL_ADMINISTRATOR).cookie
        assert first is not None
        young = sessions.find(connection, first, world.settings, now)
        assert young.session is not None
        assert young.session.cookie is None
        found = sessions.find(connection, first, world.settings, now + LATER).session
        assert found is not None
        second = found.cookie
        assert second not in {None, first}
        at_once = sessions.find(connection, first, world.settings, now + LATER).session
        assert at_once is not None
        assert at_once.cookie is None
        assert second is not None
        renewed = sessions.find(connection, second, world.settings, now + LATER).session
        assert renewed is not None
        assert renewed.csrf == found.csrf
        under_way = sessions.find(connection, first, world.settings, now + LATER + timedelta(seconds=5))
        assert under_way.session is not None
        copied = sessions.find(connection, first, world.settings, now + 2 * LATER)
        assert copied.copied
        assert copied.session is None
        assert sessions.find(connection, second, world.settings, now + 2 * LATER).session is None


def test_a_renewed_cookie_that_was_lost_on_the_way_signs_nobody_out(world: World) -> None:
    now = datetime.now(UTC)
    with world.engine.begin() as connection:
        cookie = sessions.begin(connection, LOCAL_ADMINISTRATOR).cookie
        assert cookie is not None
        for step in range(1, 20):
            found = sessions.find(connection, cookie, world.settings, now + step * LATER).session
            assert found is not None
            assert found.cookie is not None


def test_the_renewed_cookie_is_sent_with_pages_and_answers(world: World, registry: Client) -> None:
    sign_in(registry)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE browser_session SET rotated_at = rotated_at - interval '1 hour'")
    assert "perdura_session=" in registry.get("/archives", base_url=BASE).headers["Set-Cookie"]
    assert registry.get("/api/v1/archives", base_url=BASE).status_code == 200


@pytest.mark.parametrize("cookie", ["", "x", ".", "01900000-0000-7000-8000-000000000000.x", "\x7f.\x7f", "a" * 5000])
def test_strange_cookies_are_no_session(world: World, cookie: str) -> None:
    with world.engine.begin() as connection:
        assert sessions.find(connection, cookie, world.settings).session is None


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(world: World, registry: Client) -> None:
    from tests.contract.test_api.world import csrf_of

    cookie = sign_in(registry).headers["Set-Cookie"].split("=", 1)[1].split(";")[0]
    page = registry.get("/archives", base_url=BASE)
    assert registry.post("/sign-out", data={"csrf": csrf_of(page)}, base_url=BASE).status_code == 303
    copy = Client(registry.application)
    copy.set_cookie("perdura_session", cookie, domain="registry.test")
    assert copy.get("/archives", base_url=BASE).status_code == 303


def test_local_sign_ins_good_and_bad_are_in_the_audit_log(world: World, registry: Client) -> None:
    sign_in(registry)
    assert registry.post("/sign-in", data={"token": "guess"}, base_url=BASE).status_code == 403
    told = [(entry.actor, entry.action, entry.outcome, entry.status) for entry in world.audited()]
    assert told == [
        ("administrator", "signing_in.sign_in", "done", 303),
        ("administrator", "signing_in.sign_in", "denied", 403),
    ]
    assert "guess" not in str(world.audited())


def test_a_shut_account_is_out_at_once(world: World, registry: Client) -> None:
    account = world.account("archivist")
    header = bearer(world.token(account))
    assert registry.get("/api/v1/archives", headers=header).status_code == 200
    with world.engine.begin() as connection:
        directory.change(connection, account, disabled=True)
    assert registry.get("/api/v1/archives", headers=header).status_code == 401


def test_a_token_ends_by_time_and_by_hand(world: World, registry: Client) -> None:
    account = world.account("viewer")
    assert registry.get("/api/v1/archives", headers=bearer(world.token(account, days=-1))).status_code == 401
    header = bearer(world.token(account))
    with world.engine.begin() as connection:
        newest = tokens.of_account(connection, account)[0]
        assert tokens.revoke(connection, LOCAL_ADMINISTRATOR, newest.id) is None
        assert tokens.revoke(connection, account, newest.id) is not None
    assert registry.get("/api/v1/archives", headers=header).status_code == 401


def test_a_token_is_kept_as_a_digest_and_remembers_its_last_use(world: World, registry: Client) -> None:
    account = world.account("viewer")
    secret = world.token(account, [Permission.READ])
    registry.get("/api/v1/archives", headers=bearer(secret), environ_base={"REMOTE_ADDR": "192.0.2.7"})
    with world.engine.connect() as connection:
        assert secret not in str(connection.exec_driver_sql("SELECT * FROM token").all())
        row = tokens.of_account(connection, account)[0]
    assert row.used_from == "192.0.2.7"
    assert datetime.now(UTC) - row.used_at < timedelta(minutes=1)


def test_the_administrators_token_ends_when_a_provider_is_configured(world: World) -> None:
    configured = Settings(admin_token=TOKEN, base_url=BASE, oidc_issuer="https://id.test")  # type: ignore[call-arg]
    secured = World(world.engine, configured)
    session = world.registry()
    sign_in(session)
    own = bearer(world.token(LOCAL_ADMINISTRATOR))
    assert world.registry().get("/api/v1/archives", headers=own).status_code == 200
    for header in (bearer(), own):
        assert secured.registry().get("/api/v1/archives", headers=header).status_code == 401
    cookie = session.get_cookie("perdura_session", domain="registry.test")
    assert cookie is not None
    with world.engine.begin() as connection:
        assert sessions.find(connection, cookie.value, configured).session is None


def test_a_later_sign_in_brings_the_account_up_to_date(world: World) -> None:
    first = Identity(
        "person", "https://id.test", "ada", "Ada", "ada@id.test", frozenset({"a"}), frozenset({Role.VIEWER})
    )
    later = Identity("person", "https://id.test", "ada", "Ada L.", None, frozenset({"b"}), frozenset({Role.ARCHIVIST}))
    with world.engine.begin() as connection:
        account = directory.sign_in(connection, first)
        directory.change(connection, account.id, roles=[Role.AUDITOR])
        again = directory.sign_in(connection, later)
    assert again.id == account.id
    principal = directory.principal_of(again, "session")
    assert (principal.name, principal.groups) == ("Ada L.", {"b"})
    assert principal.roles == {Role.AUDITOR, Role.ARCHIVIST}


def test_an_access_token_that_says_little_takes_nothing_from_an_account(world: World) -> None:
    """Many providers leave name, e-mail and groups out of the tokens of programs that act for a person."""
    full = Identity(
        "person", "https://id.test", "eve", "Eve", "eve@id.test", frozenset({"staff"}), frozenset({Role.ARCHIVIST})
    )
    token = Identity("service", "https://id.test", "eve", None, None, None, frozenset(), client="robot")
    emptied = replace(token, groups=frozenset())
    with world.engine.begin() as connection:
        directory.sign_in(connection, full)
        kept = directory.recall(connection, token)
        put_out = directory.recall(connection, emptied)
    assert (kept.name, kept.email, kept.groups, kept.claimed_roles) == ("Eve", "eve@id.test", ["staff"], ["archivist"])
    assert (put_out.groups, put_out.claimed_roles) == ([], [])
