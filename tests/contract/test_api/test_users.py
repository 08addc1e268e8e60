"""Users, tokens, roles, grants, settings and the audit log over the API."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from werkzeug.test import Client

from perdura.accounts.principals import Permission
from perdura.api.resources import users
from perdura.ids import new_id
from perdura.settings import Settings
from tests.contract.test_api.world import TOKEN, World, bearer

ME, TOKENS, USERS = "/api/v1/users/me", "/api/v1/users/me/tokens", "/api/v1/users"


def test_everybody_learns_who_they_are_here(world: World, registry: Client) -> None:
    account = world.account("depositor", groups=["theses"], name="Dora")
    me = registry.get(ME, headers=bearer(world.token(account))).json
    assert me is not None
    assert (me["id"], me["name"], me["means"], me["roles"], me["groups"]) == (
        str(account), "Dora", "token", ["depositor"], ["theses"],
    )  # fmt: skip
    assert set(me["permissions"]) == {"self", "read", "deposit"}
    nobody = registry.get(ME, headers=bearer(world.token(world.account())))
    assert nobody.json is not None
    assert nobody.json["permissions"] == ["self"]


def test_a_token_is_made_used_and_ended(world: World, registry: Client) -> None:
    header = world.bearer("archivist")
    made = registry.post(TOKENS, headers=header, json={"name": "nightly", "scopes": ["read"], "days": 7})
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    token = made.json
    assert token is not None
    own = bearer(token["token"])
    assert registry.get("/api/v1/archives", headers=own).status_code == 200
    assert registry.get(TOKENS, headers=own).status_code == 403
    listed = registry.get(TOKENS, headers=header).json
    assert listed is not None
    assert listed["items"][0]["used"] is not None
    assert token["token"] not in str(listed)
    ended = registry.delete(f"{TOKENS}/{token['id']}", headers=header)
    assert ended.status_code == 200
    assert registry.get("/api/v1/archives", headers=own).status_code == 401
    assert [entry.action for entry in world.audited() if entry.outcome == "done"] == [
        "create_token",
        "revoke_my_token",
    ]
    assert token["token"] not in str(world.audited())


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"name": "x", "scopes": ["read"], "days": 400}, "body.days"),
        ({"name": "", "scopes": ["read"]}, "body.name"),
        ({"name": "a\nb", "scopes": ["read"]}, "body.name"),
        ({"name": "x", "scopes": []}, "body.scopes"),
        ({"name": "x", "scopes": ["emperor"]}, "body.scopes.0"),
        ({"name": "x", "scopes": ["read"], "days": 0}, "body.days"),
    ],
)
def test_what_is_wrong_with_a_token_is_said_with_its_field(
    world: World, registry: Client, sent: dict[str, object], field: str
) -> None:
    answer = registry.post(TOKENS, headers=world.bearer("viewer"), json=sent)
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["errors"][0]["field"] == field


def test_a_token_cannot_make_a_stronger_one(world: World, registry: Client) -> None:
    """Asking for it is in the audit log, as every denied act is."""
    weak = world.bearer("administrator", scopes=[Permission.SELF, Permission.READ])
    for header, scope in ((weak, "administer"), (world.bearer("viewer"), "operate")):
        answer = registry.post(TOKENS, headers=header, json={"name": "x", "scopes": [scope]})
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (403, "body.scopes")
        assert (world.audited()[-1].action, world.audited()[-1].outcome) == ("create_token", "denied")


def test_nobody_ends_or_sees_the_tokens_of_another(world: World, registry: Client) -> None:
    header = world.bearer("viewer")
    made = registry.post(TOKENS, headers=header, json={"name": "x", "scopes": ["read"]}).json
    assert made is not None
    other = world.bearer("archivist")
    assert registry.delete(f"{TOKENS}/{made['id']}", headers=other).status_code == 404
    assert registry.get("/api/v1/archives", headers=bearer(made["token"])).status_code == 200


@pytest.mark.parametrize("role", ["viewer", "depositor", "archivist", "auditor"])
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", USERS),
        ("GET", f"{USERS}/{{user}}"),
        ("PATCH", f"{USERS}/{{user}}"),
        ("GET", f"{USERS}/{{user}}/tokens"),
        ("DELETE", f"{USERS}/{{user}}/tokens/{{user}}"),
        ("GET", "/api/v1/grants"),
        ("POST", "/api/v1/grants"),
        ("GET", "/api/v1/settings"),
    ],
)
def test_administration_is_for_administrators(
    world: World, registry: Client, role: str, method: str, address: str
) -> None:
    account = world.account(role)
    header = bearer(world.token(account))
    answer = registry.open(address.format(user=account), method=method, headers=header, json={})
    assert answer.status_code == 403


def test_an_administrator_finds_changes_and_shuts_accounts(world: World, registry: Client) -> None:
    account = world.account("viewer", name="Grace Hopper", email="grace@example.org")
    header, theirs = bearer(), bearer(world.token(account))
    found = registry.get(f"{USERS}?q=HOPP", headers=header).json
    assert found is not None
    assert [user["id"] for user in found["items"]] == [str(account)]
    changed = registry.patch(f"{USERS}/{account}", headers=header, json={"roles": ["archivist"]})
    assert changed.json is not None
    assert changed.json["roles"] == ["archivist"]
    archive = world.archive(restricted=True)
    assert registry.get(f"/api/v1/archives/{archive}", headers=theirs).status_code == 200
    assert registry.patch(f"{USERS}/{account}", headers=header, json={"disabled": True}).status_code == 200
    assert registry.get(ME, headers=theirs).status_code == 401
    assert registry.patch(f"{USERS}/{account}", headers=header, json={"disabled": False}).status_code == 200
    assert registry.get(ME, headers=theirs).status_code == 200
    assert world.audited()[0].detail == {"roles": ["archivist"]}


def test_an_administrator_does_not_lock_themselves_out(world: World, registry: Client) -> None:
    account = world.account("administrator")
    header = bearer(world.token(account))
    for change in ({"disabled": True}, {"roles": ["viewer"]}):
        assert registry.patch(f"{USERS}/{account}", headers=header, json=change).status_code == 409
    assert registry.patch(f"{USERS}/{account}", headers=header, json={"roles": ["administrator"]}).status_code == 200


def test_an_administrator_ends_the_token_of_another(world: World, registry: Client) -> None:
    account = world.account("viewer")
    theirs = bearer(world.token(account))
    listed = registry.get(f"{USERS}/{account}/tokens", headers=bearer()).json
    assert listed is not None
    token = listed["items"][0]["id"]
    assert registry.delete(f"{USERS}/{new_id()}/tokens/{token}", headers=bearer()).status_code == 404
    assert registry.delete(f"{USERS}/{account}/tokens/{token}", headers=bearer()).status_code == 200
    assert registry.get(ME, headers=theirs).status_code == 401


def test_accounts_are_paged_without_repeating_or_losing_one(world: World, registry: Client) -> None:
    made = {str(world.account("viewer")) for _ in range(7)}
    seen: list[str] = []
    address: str | None = f"{USERS}?limit=3"
    while address:
        page = registry.get(address, headers=bearer()).json
        assert page is not None
        seen += [user["id"] for user in page["items"]]
        address = f"{USERS}?limit=3&cursor={page['next']}" if page["next"] else None
    assert len(seen) == len(set(seen)) == 8
    assert made < set(seen)


def test_a_grant_is_given_listed_and_taken_back(world: World, registry: Client) -> None:
    account, archive = world.account("viewer"), world.archive(restricted=True)
    theirs = bearer(world.token(account))
    sent = {"user": str(account), "archive": str(archive)}
    made = registry.post("/api/v1/grants", headers=bearer(), json=sent)
    again = registry.post("/api/v1/grants", headers=bearer(), json=sent)
    assert (made.status_code, made.json) == (201, again.json)
    assert registry.get(f"/api/v1/archives/{archive}", headers=theirs).status_code == 200
    listed = registry.get(f"/api/v1/grants?archive={archive}", headers=bearer()).json
    assert listed is not None
    assert listed["items"] == [made.json]
    assert made.json is not None
    assert registry.delete(f"/api/v1/grants/{made.json['id']}", headers=bearer()).status_code == 204
    assert registry.get(f"/api/v1/archives/{archive}", headers=theirs).status_code == 404


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({}, 422),
        ({"user": "{user}"}, 422),
        ({"user": "{user}", "group": "g", "archive": "{archive}"}, 422),
        ({"group": "g", "archive": "{archive}", "collection": "{archive}"}, 422),
        ({"group": "g", "archive": "{user}"}, 404),
        ({"user": "{archive}", "archive": "{archive}"}, 422),
        ({"group": "", "archive": "{archive}"}, 422),
    ],
)
def test_a_wrong_grant_is_refused(world: World, registry: Client, sent: dict[str, str], status: int) -> None:
    ids = {"user": world.account("viewer"), "archive": world.archive()}
    filled = {name: value.format(**ids) for name, value in sent.items()}
    answer = registry.post("/api/v1/grants", headers=bearer(), json=filled)
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["errors"]


def test_the_audit_log_is_read_by_auditors_and_filtered(world: World, registry: Client) -> None:
    archive = world.archive(state="failed")
    world.step(archive, "ingest", 0, "failed")
    operator = world.account("archivist", name="Otto")
    registry.post(f"/api/v1/archives/{archive}/retry", headers=bearer(world.token(operator)))
    registry.get(USERS, headers=bearer(world.token(operator)))
    header = world.bearer("auditor")

    def actions(query: str) -> list[str]:
        page = registry.get(f"/api/v1/audit?{query}", headers=header).json
        assert page is not None
        return [entry["action"] for entry in page["items"]]

    assert actions("") == ["list_users", "retry_archive"]
    assert actions("outcome=done") == ["retry_archive"]
    assert actions("outcome=denied") == ["list_users"]
    assert actions(f"object={archive}") == ["retry_archive"]
    assert actions(f"user={operator}&action=list_users") == ["list_users"]
    assert actions(f"user={new_id()}") == []
    assert actions("until=2020-01-01T00:00:00Z") == []
    assert actions("limit=1") == ["list_users"]
    assert registry.get("/api/v1/audit?since=yesterday", headers=header).status_code == 422
    for role in ("viewer", "depositor", "archivist"):
        assert registry.get("/api/v1/audit", headers=world.bearer(role)).status_code == 403


def test_the_audit_log_names_the_address_that_our_proxy_saw(world: World) -> None:
    behind = World(world.engine, Settings(admin_token=TOKEN, base_url="http://registry.test", proxies=1, rate_limit=0))  # type: ignore[call-arg]
    forged = {**bearer(), "X-Forwarded-For": "203.0.113.9, 192.0.2.44"}
    behind.registry().post(TOKENS, headers=forged, json={"name": "x", "scopes": ["read"]})
    world.registry().post(TOKENS, headers=forged, json={"name": "x", "scopes": ["read"]})
    assert [entry.address for entry in world.audited()] == ["192.0.2.44", None]


def test_settings_are_shown_without_a_secret(world: World) -> None:
    secrets = {
        name: SecretStr(f"hush-{name}")
        for name, info in Settings.model_fields.items()
        if "SecretStr" in str(info.annotation)
    }
    settings = Settings(**{**secrets, "admin_token": TOKEN})  # type: ignore[arg-type]
    answer = World(world.engine, settings).registry().get("/api/v1/settings", headers=bearer())
    assert answer.status_code == 200
    assert "hush" not in answer.text
    assert TOKEN not in answer.text
    assert answer.json is not None
    told = {entry["name"]: entry for entry in answer.json["items"]}
    assert told["PERDURA_ADMIN_TOKEN"] | {"description": ""} == {
        "name": "PERDURA_ADMIN_TOKEN", "value": None, "secret": True, "is_default": False, "description": "",
    }  # fmt: skip


def test_no_secret_has_a_default_that_works(world: World) -> None:
    """The peer's settings, which are public, hold a key that encrypts with."""
    for name, info in Settings.model_fields.items():
        if "SecretStr" in str(info.annotation) and name != "database_url":
            assert info.default is None, name
    nothing = World(world.engine, Settings(base_url="http://registry.test"))  # type: ignore[call-arg]
    for token in ("", "None", "perdura_"):
        assert nothing.registry().get("/api/v1/archives", headers=bearer(token)).status_code == 401


def test_roles_are_told_with_what_they_allow(world: World, registry: Client) -> None:
    listed = registry.get("/api/v1/roles", headers=world.bearer("viewer")).json
    assert listed is not None
    assert [role["name"] for role in listed["items"]] == [
        "viewer", "depositor", "archivist", "auditor", "administrator",
    ]  # fmt: skip


def test_an_unknown_user_is_a_404(registry: Client) -> None:
    for address in (f"{USERS}/{new_id()}", f"{USERS}/{new_id()}/tokens"):
        assert registry.get(address, headers=bearer()).status_code == 404


def test_an_account_has_so_many_tokens_that_are_good_and_no_more(
    world: World, registry: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "MOST_TOKENS", 2)
    header = world.bearer("viewer")
    wanted = {"name": "of a program", "scopes": ["read"]}
    made = [registry.post("/api/v1/users/me/tokens", headers=header, json=wanted) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 409]
    first = made[0].get_json()["id"]
    assert registry.delete(f"/api/v1/users/me/tokens/{first}", headers=header).status_code == 200
    assert registry.post("/api/v1/users/me/tokens", headers=header, json=wanted).status_code == 201


def test_a_token_lives_no_longer_than_the_one_it_was_asked_for_with_and_ends_with_it(world: World) -> None:
    registry, account = world.registry(), world.account("archivist")
    parent = world.token(account, [Permission.SELF, Permission.READ], days=0.01)
    wanted = {"name": "child", "scopes": ["self", "read"], "days": 300}
    child = registry.post("/api/v1/users/me/tokens", json=wanted, headers=bearer(parent)).get_json()
    listed = registry.get("/api/v1/users/me/tokens", headers=bearer(parent)).get_json()["items"]
    ends = {item["name"]: item["expires"] for item in listed}
    assert ends["child"] == ends["of a test"]
    grandchild = registry.post("/api/v1/users/me/tokens", json=wanted, headers=bearer(child["token"])).get_json()
    (first,) = [item["id"] for item in listed if item["name"] == "of a test"]
    assert registry.delete(f"/api/v1/users/me/tokens/{first}", headers=bearer(parent)).status_code == 200
    for ended in (parent, child["token"], grandchild["token"]):
        assert registry.get("/api/v1/users/me", headers=bearer(ended)).status_code == 401


def test_naming_what_is_somebody_elses_is_recorded(world: World) -> None:
    registry, theirs, mine = world.registry(), world.token(world.account("archivist")), world.bearer("viewer")
    archive = world.archive(state="failed")
    world.step(archive, "ingest", 0, "failed")
    job = registry.post("/api/v1/jobs", json={"act": "retry", "archives": [str(archive)]}, headers=bearer(theirs))
    token = registry.get("/api/v1/users/me/tokens", headers=bearer(theirs)).get_json()["items"][0]["id"]
    wanted = {"way": "email", "address": "a@example.org", "kinds": ["failed"]}
    told = registry.post("/api/v1/subscriptions", json=wanted, headers=bearer(theirs)).get_json()["id"]
    for method, path, thing in (
        ("get", f"jobs/{job.get_json()['id']}", job.get_json()["id"]), ("delete", f"users/me/tokens/{token}", token),
        ("delete", f"subscriptions/{told}", told), ("get", f"subscriptions/{new_id()}", None),
    ):  # fmt: skip
        before = len(world.audited())
        assert getattr(registry, method)(f"/api/v1/{path}", headers=mine).status_code == 404
        entries = [(entry.outcome, entry.objects) for entry in world.audited()[before:]]
        assert entries == ([("denied", [thing])] if thing else [])


def test_what_was_changed_is_in_the_audit_log(world: World) -> None:
    registry, header = world.registry(), bearer()
    made = registry.post("/api/v1/collections", json={"name": "One", "restricted": True}, headers=header).get_json()
    registry.patch(f"/api/v1/collections/{made['id']}", json={"restricted": False}, headers=header)
    registry.put("/api/v1/pipelines/short", json={"steps": ["ingest", "preserve"]}, headers=header)
    wanted = {"name": "n", "source": "zenodo", "way": "oai-pmh", "cron": "0 3 * * *"}
    schedule = registry.post("/api/v1/schedules", json=wanted, headers=header).get_json()["id"]
    registry.patch(f"/api/v1/schedules/{schedule}", json={"cron": "0 4 * * *"}, headers=header)
    registry.post(f"/api/v1/schedules/{schedule}/pause", headers=header)
    told = [(entry.action, entry.objects, entry.detail) for entry in world.audited()]
    assert told == [
        ("create_collection", [made["id"]], {"name": "One", "restricted": True}),
        ("change_collection", [made["id"]], {"restricted": False}),
        ("put_pipeline", [], {"steps": ["ingest", "preserve"], "description": ""}),
        ("create_schedule", [schedule], wanted),
        ("change_schedule", [schedule], {"cron": "0 4 * * *"}),
        ("pause_schedule", [schedule], {}),
    ]
