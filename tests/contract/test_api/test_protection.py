"""Who is let in, and how everybody else is refused."""

from __future__ import annotations

import json

import pytest
from werkzeug.test import Client

from perdura.accounts.principals import PERMISSIONS, Permission, Role
from perdura.api.openapi import document
from perdura.api.operations import Operation
from perdura.api.resources import OPERATIONS
from perdura.ids import new_id
from tests.contract.test_api.world import BASE, TOKEN, World, bearer, csrf_of, sign_in

NOBODY = "01900000-0000-7000-8000-000000000000"
PROTECTED = [operation for operation in OPERATIONS if operation.permission is not None]


def _address(operation: Operation) -> str:
    path = operation.rule
    for name, _ in operation.variables:
        path = path.replace(f"<uuid:{name}>", str(new_id())).replace(f"<path:{name}>", "a/b")
    return path


@pytest.mark.parametrize("operation", PROTECTED, ids=lambda operation: operation.name)
def test_every_operation_wants_a_token(registry: Client, operation: Operation) -> None:
    answer = registry.open(_address(operation), method=operation.method)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(answer.data) <= 512


@pytest.mark.parametrize("role", [None, *Role])
def test_a_role_reaches_the_operations_of_its_permissions_and_no_other(
    world: World, registry: Client, role: Role | None
) -> None:
    """The ids are of nothing: whoever is let in gets some other refusal, or an empty answer."""
    header = world.bearer(*([role.value] if role else []))
    held = (PERMISSIONS[role] if role else frozenset()) | {Permission.SELF}
    for operation in OPERATIONS:
        answer = registry.open(_address(operation), method=operation.method, headers=header)
        allowed = operation.permission is None or operation.permission in held
        assert (answer.status_code == 403) is not allowed, (operation.name, answer.text)


@pytest.mark.parametrize("token", ["wrong", "", TOKEN + "x", "ü", " "])
def test_a_wrong_token_is_refused(registry: Client, token: str) -> None:
    answer = registry.get("/api/v1/archives", headers=bearer(token))
    assert answer.status_code == 401
    assert token not in answer.text or not token.strip()


def test_health_and_documentation_are_open(registry: Client) -> None:
    for address in ("/api/v1/health", "/api/openapi.json", "/api/docs"):
        assert registry.get(address).status_code == 200


def test_a_session_needs_its_csrf_token_to_change_anything(world: World, registry: Client) -> None:
    assert sign_in(registry).status_code == 303
    page = registry.get("/archives", base_url=BASE)
    body = json.dumps({"filename": "a.zip", "size": 1})
    sent = {"data": body, "content_type": "application/json", "base_url": BASE}
    assert registry.post("/api/v1/deposits", **sent).status_code == 403
    good = {"X-CSRF-Token": csrf_of(page)}
    cross = good | {"Origin": "https://evil.example"}
    assert registry.post("/api/v1/deposits", headers=cross, **sent).status_code == 403
    assert registry.post("/api/v1/deposits", headers=good, **sent).status_code == 201
    archive = world.archive(state="failed")
    world.step(archive, "ingest", 0, "failed")
    assert registry.post(f"/archives/{archive}/retry", base_url=BASE).status_code == 403
    form = {"csrf": csrf_of(page)}
    assert registry.post(f"/archives/{archive}/retry", data=form, base_url=BASE).status_code == 303


def test_the_session_cookie_cannot_be_read_or_forged(registry: Client) -> None:
    answer = sign_in(registry)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    forged = Client(registry.application)
    forged.set_cookie("perdura_session", cookie.split("=", 1)[1].split(";")[0][:-2] + "xx", domain="registry.test")
    assert forged.get("/archives", base_url=BASE).status_code == 303


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"])
def test_signing_in_never_leads_elsewhere(registry: Client, target: str) -> None:
    answer = registry.post("/sign-in", data={"token": TOKEN, "next": target}, base_url=BASE)
    assert answer.headers["Location"] == "/"


@pytest.mark.parametrize("address", ["/archives", "/add", "/failures", "/events", f"/archives/{NOBODY}"])
def test_pages_send_strangers_to_sign_in(registry: Client, address: str) -> None:
    answer = registry.get(address)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/sign-in?next=")
    fragment = registry.get(address, headers={"HX-Request": "true"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (204, answer.headers["Location"])


def test_every_answer_has_security_headers(registry: Client) -> None:
    for address in ("/sign-in", "/api/v1/archives", "/nothing", "/assets/app.css", "/api/docs"):
        headers = registry.get(address).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]


def test_the_upload_may_only_go_to_the_store(registry: Client) -> None:
    policy = registry.get("/sign-in").headers["Content-Security-Policy"]
    assert "connect-src 'self' http://store.test:8333;" in policy


@pytest.mark.parametrize("path", ["/api/v1/archives/", "/api/v1/deposits/"])
def test_a_final_slash_is_no_redirect(registry: Client, path: str) -> None:
    answer = registry.post(path, headers=bearer(), data="{}", content_type="application/json")
    assert answer.status_code in {405, 422}


def test_wrong_methods_name_the_right_ones(registry: Client) -> None:
    answer = registry.delete("/api/v1/archives", headers=bearer())
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert registry.options("/api/v1/archives").status_code == 204


def test_a_dead_database_is_a_503_without_a_trace(world: World) -> None:
    from sqlalchemy import create_engine

    dead = World(create_engine("postgresql+pg8000://nobody@127.0.0.1:1/nothing"))
    for client, address in ((dead.registry(), "/api/v1/health"), (dead.reader(), f"/archives/{new_id()}")):
        answer = client.get(address)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "127.0.0.1:1" not in answer.text
        assert "Traceback" not in answer.text


def test_the_openapi_document_lists_every_operation() -> None:
    shown = document()
    assert shown["openapi"] == "3.1.0"
    listed = {(path, method) for path, methods in shown["paths"].items() for method in methods}
    assert len(listed) == len(OPERATIONS)
    names = [entry["operationId"] for methods in shown["paths"].values() for entry in methods.values()]
    assert len(set(names)) == len(names)
    for methods in shown["paths"].values():
        for entry in methods.values():
            assert entry["summary"].endswith(".")
