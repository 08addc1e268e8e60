"""Who may write to the PREMIS log: those whose token allows them to operate, and nobody by a cookie."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Request
from werkzeug.test import Client, TestResponse

from perdura.accounts.principals import Permission
from perdura.api.log_door import LogDoor
from perdura.ids import new_id
from perdura.premis import service
from perdura.settings import Settings
from tests.contract.test_api.world import BASE, TOKEN, World, bearer, sign_in


def _log(world: World) -> Client:
    def application(environ: Any, start: Any) -> Any:
        answer = service.respond(Request(environ), world.engine, world.settings, door=LogDoor(world))
        return answer(environ, start)

    return Client(application)


def _write(client: Client, header: dict[str, str]) -> int:
    event = {"type": "fixity check", "date": "2026-01-01T00:00:00Z", "outcome": "success"}
    sent = event | {"identifier": str(new_id()), "objects": [str(new_id())]}
    return client.post("/APP/event/", headers=header, json=sent).status_code


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("viewer", False), ("depositor", False), ("auditor", False), ("archivist", True), ("administrator", True)],
)
def test_writing_needs_the_right_to_operate(world: World, role: str, allowed: bool) -> None:
    status = _write(_log(world), world.bearer(role))
    assert (status != 403) is allowed
    assert _write(_log(world), world.bearer(role, scopes=[Permission.READ])) == 403


def test_the_administrators_token_writes_until_a_provider_is_configured(world: World) -> None:
    assert _write(_log(world), bearer()) not in {401, 403}
    configured = Settings(admin_token=TOKEN, base_url=BASE, oidc_issuer="https://id.test")  # type: ignore[call-arg]
    assert _write(_log(World(world.engine, configured)), bearer()) == 401


def test_a_cookie_of_the_registry_writes_nothing(world: World) -> None:
    registry = world.registry()
    sign_in(registry)
    cookie = registry.get_cookie("perdura_session", domain="registry.test")
    assert cookie is not None
    log = _log(world)
    log.set_cookie("perdura_session", cookie.value)
    assert _write(log, {}) == 401


def _post(log: Client, header: dict[str, str], identifier: str) -> TestResponse:
    event = {
        "identifier": identifier,
        "type": "fixity check",
        "date": "2026-01-01T00:00:00Z",
        "outcomes": [{"outcome": "success"}],
        "objects": [{"type": "ARK", "value": "ark:/1"}],
    }
    return log.post("/APP/event/", headers=header, json=event)


def test_every_event_that_is_written_is_in_the_audit_log_and_none_that_was_there(world: World) -> None:
    account, identifier = world.account("archivist", name="Ada"), str(new_id())
    header, log = bearer(world.token(account)), _log(world)
    assert [_post(log, header, identifier).status_code for _ in range(2)] == [201, 409]
    told = [entry for entry in world.audited() if entry.action == "premis.record"]
    assert [(entry.account_id, entry.actor, entry.outcome, entry.status) for entry in told] == [
        (account, "Ada", "done", 201)
    ]
    assert (told[0].objects, told[0].path, told[0].detail) == ([identifier], "/APP/event/", {})


def test_events_that_are_added_together_are_each_in_the_audit_log(world: World) -> None:
    account = world.account("archivist")
    header, log = bearer(world.token(account)), _log(world)
    identifiers = [str(new_id()) for _ in range(24)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda identifier: _post(log, header, identifier), [*identifiers, *identifiers[:4]]))
    assert sorted(answer.status_code for answer in answers) == [201] * 24 + [409] * 4
    told = [entry.objects[0] for entry in world.audited() if entry.action == "premis.record"]
    assert sorted(told) == sorted(identifiers)
