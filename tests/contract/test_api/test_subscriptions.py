"""Subscriptions over the API: one's own, bounded, their secrets shown once, mail to one's own mailbox."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from werkzeug.test import Client, TestResponse

from perdura.accounts.principals import Permission
from perdura.api.resources import subscriptions
from perdura.ids import new_id
from tests.contract.test_api.world import BASE, World, bearer

HOOK = {"way": "webhook", "address": "https://hook.test/x", "kinds": ["failed"]}
MAIL = {"way": "email", "address": "ada@example.org", "kinds": ["failed"]}


@pytest.fixture
def keyed(world: World) -> World:
    """An installation that can keep secrets."""
    keys = SecretStr(base64.b64encode(bytes(32)).decode())
    return replace(world, settings=world.settings.model_copy(update={"credential_keys": keys}))


def _make(client: Client, header: dict[str, str], body: dict[str, Any]) -> TestResponse:
    return client.post("/api/v1/subscriptions", headers=header, json=body)


def _field(answer: TestResponse) -> str:
    told = answer.json
    assert told is not None
    return str(told["errors"][0]["field"])


def test_a_secret_is_shown_once_and_kept_sealed(keyed: World) -> None:
    registry, header = keyed.registry(), keyed.bearer("viewer")
    made = _make(registry, header, HOOK)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    told = made.json
    assert told is not None
    assert told["secret"].startswith("whsec_")
    address = f"/api/v1/subscriptions/{told['id']}"
    for reading in (address, "/api/v1/subscriptions"):
        assert "whsec_" not in registry.get(reading, headers=header).text
    with keyed.engine.connect() as connection:
        kept = connection.execute(text("SELECT secret FROM subscription")).scalar_one()
    assert kept.startswith("sealed:")
    assert told["secret"] not in str(keyed.audited())


def test_a_secret_is_not_kept_for_a_repetition_of_the_request(keyed: World) -> None:
    registry, header = keyed.registry(), {**keyed.bearer("viewer"), "Idempotency-Key": "once"}
    assert [_make(registry, header, HOOK).status_code for _ in range(2)] == [201, 409]
    with keyed.engine.connect() as connection:
        kept = connection.execute(text("SELECT body FROM idempotency_key")).scalars().all()
    assert b"whsec_" not in b"".join(bytes(body or b"") for body in kept)


def test_those_of_others_do_not_exist_even_for_an_administrator(keyed: World) -> None:
    registry = keyed.registry()
    told = _make(registry, keyed.bearer("viewer"), HOOK).json
    assert told is not None
    address = f"/api/v1/subscriptions/{told['id']}"
    other = bearer()
    missing = registry.get(f"/api/v1/subscriptions/{new_id()}", headers=other)
    assert registry.get(address, headers=other).data == missing.data
    assert registry.patch(address, headers=other, json={"active": False}).status_code == 404
    assert registry.post(f"{address}/test", headers=other).status_code == 404
    assert registry.delete(address, headers=other).status_code == 404
    assert registry.get("/api/v1/subscriptions", headers=other).json == {"items": []}


def test_one_is_paused_resumed_and_ended(keyed: World) -> None:
    registry, header = keyed.registry(), keyed.bearer("viewer")
    told = _make(registry, header, HOOK).json
    assert told is not None
    address = f"/api/v1/subscriptions/{told['id']}"
    with keyed.engine.begin() as connection:
        connection.execute(text("UPDATE subscription SET active = false, failures = 20"))
    resumed = registry.patch(address, headers=header, json={"active": True, "every_minutes": 60}).json
    assert resumed is not None
    assert (resumed["active"], resumed["failures"], resumed["every_minutes"]) == (True, 0, 60)
    assert registry.delete(address, headers=header).status_code == 204
    assert registry.get(address, headers=header).status_code == 404


def test_mail_goes_to_ones_own_address_unless_one_may_operate(world: World, registry: Client) -> None:
    mine = bearer(world.token(world.account("depositor", email="Ada@example.org")))
    assert _make(registry, mine, MAIL).status_code == 201
    for header in (mine, world.bearer("viewer")):
        refused = _make(registry, header, {**MAIL, "address": "eve@example.org"})
        assert (refused.status_code, _field(refused)) == (422, "body.address")
    narrow = world.bearer("archivist", scopes=[Permission.SELF, Permission.READ, Permission.READ_RESTRICTED])
    assert _make(registry, narrow, MAIL).status_code == 422
    assert _make(registry, world.bearer("archivist"), MAIL).status_code == 201


def test_who_sees_less_than_would_be_told_subscribes_to_nothing(world: World, registry: Client) -> None:
    roleless = bearer(world.token(world.account(email="ada@example.org")))
    narrow = world.bearer("archivist", scopes=[Permission.SELF, Permission.READ])
    for header in (roleless, narrow, world.bearer("archivist", scopes=[Permission.SELF])):
        assert _make(registry, header, MAIL).status_code == 403
        fields = {"way": "email", "address": "ada@example.org", "kinds": "failed"}
        page = registry.post("/notifications", headers=header, data=fields, base_url=BASE)
        assert page.status_code == 403
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM subscription")).scalar_one() == 0


def test_an_account_has_so_many_and_no_more(world: World, registry: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MOST", 2)
    header = world.bearer("archivist")
    assert [_make(registry, header, MAIL).status_code for _ in range(3)] == [201, 201, 409]
    assert _make(registry, world.bearer("archivist"), MAIL).status_code == 201


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"address": "ftp://hook.test"}, "body.address"),
        ({"way": "email", "address": "a@b\r\nBcc: eve@example.org"}, "body.address"),
        ({"way": "email", "address": "a@b, eve@example.org"}, "body.address"),
        ({"kinds": []}, "body.kinds"),
        ({"kinds": ["everything"]}, "body.kinds.0"),
        ({"every_minutes": -1}, "body.every_minutes"),
        ({"collection": str(new_id())}, "body.collection"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_field(keyed: World, change: dict[str, Any], field: str) -> None:
    refused = _make(keyed.registry(), keyed.bearer("archivist"), {**HOOK, **change})
    assert (refused.status_code, _field(refused)) == (404 if "collection" in change else 422, field)


def test_without_keys_nothing_is_signed_and_so_nothing_is_promised(world: World, registry: Client) -> None:
    assert _make(registry, world.bearer("viewer"), HOOK).status_code == 409


def test_whoever_may_not_see_a_collection_is_told_nothing_of_it(keyed: World) -> None:
    shut = keyed.collection(restricted=True)
    refused = _make(keyed.registry(), keyed.bearer("viewer"), {**HOOK, "collection": str(shut)})
    assert refused.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        *(
            HOOK | {"address": address}
            for address in ("http://[", "http://x..y/", "http://a.example:99999/", "x@y.org")
        ),
        *(MAIL | {"address": address} for address in ("a@[", "http://a.example/")),
    ],
)
def test_an_address_that_could_never_be_told_is_refused_by_its_name(keyed: World, body: dict[str, Any]) -> None:
    refused = _make(keyed.registry(), keyed.bearer("archivist"), body)
    assert (refused.status_code, _field(refused)) == (422, "body.address")
    assert "Value error" not in refused.text
