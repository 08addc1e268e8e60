"""What holds for every request: repetition, conditions, limits, other origins, bounds; also each hole of the peer."""

from __future__ import annotations

import base64
import math
import threading
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts import forgetting, rate_buckets, sessions
from perdura.api import limits
from perdura.api.sessions import cookie_name
from perdura.registry import collections
from perdura.settings import Settings
from tests.contract.test_api.world import BASE, TOKEN, World, bearer

DEPOSITS, TOKENS = "/api/v1/deposits", "/api/v1/users/me/tokens"
NOBODY = "01900000-0000-7000-8000-000000000000"
BODY = {"filename": "a.zip", "size": 1}


def _keyed(key: str, header: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**(header or bearer()), "Idempotency-Key": key}


def _count(world: World, table: str) -> int:
    with world.engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_repeated_post_is_done_once_and_answered_alike(world: World, registry: Client) -> None:
    first = registry.post(DEPOSITS, headers=_keyed('"k-1"'), json=BODY)
    again = registry.post(DEPOSITS, headers=_keyed("k-1"), json=BODY)
    assert (again.status_code, again.data) == (201, first.data)
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert again.headers["Location"] == first.headers["Location"]
    assert _count(world, "deposit") == 1
    assert len(world.audited()) == 1


def test_keys_of_two_callers_are_two_keys(world: World, registry: Client) -> None:
    one, two = world.bearer("depositor"), world.bearer("depositor")
    assert registry.post(DEPOSITS, headers=_keyed("k", one), json=BODY).status_code == 201
    assert registry.post(DEPOSITS, headers=_keyed("k", two), json=BODY).status_code == 201
    assert _count(world, "deposit") == 2


def test_a_key_belongs_to_one_request(world: World, registry: Client) -> None:
    registry.post(DEPOSITS, headers=_keyed("k"), json=BODY)
    other = registry.post(DEPOSITS, headers=_keyed("k"), json={**BODY, "size": 2})
    assert other.status_code == 422
    assert other.json is not None
    assert other.json["errors"][0]["field"] == "header.Idempotency-Key"
    assert _count(world, "deposit") == 1


def test_what_failed_may_be_sent_again_with_its_key(world: World, registry: Client) -> None:
    archive = world.archive(state="completed")
    step = world.step(archive, "ingest", 0, "completed")
    retry = f"/api/v1/archives/{archive}/retry"
    assert registry.post(retry, headers=_keyed("k")).status_code == 409
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'failed' WHERE id = :id"), {"id": step})
        connection.execute(text("UPDATE archive SET state = 'failed'"))
    assert registry.post(retry, headers=_keyed("k")).status_code == 202
    assert registry.post(retry, headers=_keyed("k")).status_code == 202
    assert _count(world, "step") == 2


def test_twenty_at_once_with_one_key_are_done_once(world: World) -> None:
    answers: list[int] = []

    def send() -> None:
        answers.append(world.registry().post(DEPOSITS, headers=_keyed("k"), json=BODY).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) == {201}
    assert _count(world, "deposit") == 1


def test_a_secret_is_not_kept_for_a_repetition(world: World, registry: Client) -> None:
    sent = {"name": "x", "scopes": ["read"]}
    made = registry.post(TOKENS, headers=_keyed("k"), json=sent).json
    assert made is not None
    assert registry.post(TOKENS, headers=_keyed("k"), json=sent).status_code == 409
    assert _count(world, "token") == 1
    with world.engine.connect() as connection:
        assert made["token"] not in str(connection.execute(text("SELECT * FROM idempotency_key")).all())


@pytest.mark.parametrize("key", ["", '""', "a b", "x" * 256, "ü"])
def test_a_key_that_cannot_be_is_refused(registry: Client, key: str) -> None:
    assert registry.post(DEPOSITS, headers=_keyed(key), json=BODY).status_code == 400


def test_keys_are_forgotten_after_a_day(world: World, registry: Client) -> None:
    registry.post(DEPOSITS, headers=_keyed("k"), json=BODY)
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE idempotency_key SET created_at = created_at - interval '25 hours'"))
    assert registry.post(DEPOSITS, headers=_keyed("k"), json=BODY).status_code == 201
    assert _count(world, "deposit") == 2
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE idempotency_key SET created_at = created_at - interval '25 hours'"))
        forgetting.forget(connection, world.settings)
    assert _count(world, "idempotency_key") == 0


def test_a_change_may_ask_for_what_was_seen_to_be_there_still(world: World, registry: Client) -> None:
    account = world.account("viewer")
    address = f"/api/v1/users/{account}"
    tag = registry.get(address, headers=bearer()).headers["ETag"]
    assert not tag.startswith("W/")
    seen = {**bearer(), "If-Match": tag}
    changed = registry.patch(address, headers=seen, json={"roles": ["depositor"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == registry.get(address, headers=bearer()).headers["ETag"] != tag
    late = registry.patch(address, headers=seen, json={"roles": ["archivist"]})
    assert late.status_code == 412
    assert late.headers["ETag"] == changed.headers["ETag"]
    assert registry.patch(address, headers={**bearer(), "If-Match": "*"}, json={}).status_code == 200
    assert registry.get(address, headers={**bearer(), "If-None-Match": changed.headers["ETag"]}).status_code == 304


def test_two_who_saw_the_same_do_not_both_change_it(world: World) -> None:
    address = f"/api/v1/users/{world.account('viewer')}"
    seen = {**bearer(), "If-Match": world.registry().get(address, headers=bearer()).headers["ETag"]}
    answers: list[int] = []

    def change(role: str) -> None:
        answers.append(world.registry().patch(address, headers=seen, json={"roles": [role]}).status_code)

    threads = [threading.Thread(target=change, args=(role,)) for role in ("depositor", "archivist", "auditor")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 412, 412]


def test_who_changes_without_a_condition_waits_for_who_has_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"/api/v1/collections/{world.collection(description='first')}"
    tag = world.registry().get(address, headers=bearer()).headers["ETag"]
    real, others = collections.change, []

    def change(connection: Any, collection: UUID, **values: Any) -> None:
        if values["description"] == "mine":
            others.append(threading.Thread(target=send, args=({}, "theirs")))
            others[0].start()
            others[0].join(0.5)
        real(connection, collection, **values)

    def send(headers: dict[str, str], description: str) -> int:
        sent = {"description": description}
        return world.registry().patch(address, headers={**bearer(), **headers}, json=sent).status_code

    monkeypatch.setattr(collections, "change", change)
    assert send({"If-Match": tag}, "mine") == 200
    others[0].join()
    assert world.registry().get(address, headers=bearer()).get_json()["description"] == "theirs"


def _with(world: World, **values: Any) -> World:
    settings = {"admin_token": TOKEN, "base_url": BASE, "rate_limit": 0, "rate_limit_strangers": 0, **values}
    return World(world.engine, Settings(**settings))


def test_a_caller_is_slowed_down_and_told_when_to_go_on(world: World) -> None:
    limited = _with(world, rate_limit=7)
    header, other = world.bearer("viewer"), world.bearer("viewer")
    answers = [limited.registry().get("/api/v1/archives", headers=header) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 7 + [429]
    assert answers[0].headers["RateLimit-Policy"] == '"callers";q=7;w=60'
    assert answers[0].headers["RateLimit"].startswith('"callers";r=6;t=')
    assert 1 <= int(answers[7].headers["Retry-After"]) <= 9
    assert answers[7].mimetype == "application/problem+json"
    assert limited.registry().get("/api/v1/archives", headers=other).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"/archives/{NOBODY}", None, 404),
        ("GET", "/archives?limit=0", None, 422),
        ("GET", "/audit", None, 403),
        ("POST", "/schedules", {"name": "n", "source": "zenodo", "query": "q", "cron": "never"}, 422),
        ("DELETE", "/pipelines/harvest", None, 409),
    ],
)
def test_what_is_left_is_told_with_refusals_too(world: World, method: str, path: str, body: Any, status: int) -> None:
    roles = ("viewer",) if status == 403 else ("administrator", "archivist")
    sent = {} if body is None else {"json": body}
    answer = (
        _with(world, rate_limit=7)
        .registry()
        .open(f"/api/v1{path}", method=method, headers=world.bearer(*roles), **sent)
    )
    assert answer.status_code == status
    assert answer.headers["RateLimit"].startswith('"callers";r=6;t=')


def test_several_processes_let_through_what_one_would(world: World) -> None:
    """Each has its own share of the same bucket; what a share holds is taken out of the bucket first."""
    quota, per_second = 40, 40 / 60
    statements: list[str] = []

    def process() -> limits.Limiter:
        take = rate_buckets.taker(world.engine, "test", quota, per_second)
        return limits.Limiter("test", quota, lambda *a: (statements.append(a[0]), take(*a))[1])

    processes = [process() for _ in range(4)]
    begun = time.monotonic()
    answers = [processes[number % 4].spend("somebody") for number in range(200)]
    refilled = math.ceil((time.monotonic() - begun) * per_second)
    passed = sum(answer.wait == 0 for answer in answers)
    assert quota - 4 <= passed <= quota + refilled
    assert len(statements) <= 40
    assert all(answer.remaining <= quota for answer in answers)
    assert processes[0].spend("somebody else").wait == 0
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE rate_bucket SET at = at - interval '3 minutes' WHERE caller = 'somebody'"))
    assert process().spend("somebody").remaining == quota - 1
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE rate_bucket SET at = at - interval '3 minutes'"))
        rate_buckets.forget_full(connection)
        assert connection.execute(text("SELECT count(*) FROM rate_bucket")).scalar_one() == 0


def test_guessing_tokens_is_slowed_down_and_does_not_fill_the_audit_log(world: World) -> None:
    limited = _with(world, rate_limit_strangers=5)
    answers = [
        limited.registry().get("/api/v1/archives", headers=bearer(f"perdura_{number}")).status_code
        for number in range(20)
    ]
    assert answers == [401] * 5 + [429] * 15
    assert len(world.audited()) == 5
    assert limited.registry().get("/api/v1/archives", headers=bearer()).status_code == 200


def test_no_other_origin_may_read_answers_unless_it_is_configured(world: World, registry: Client) -> None:
    """The peer lets every site call its API."""
    header = {**bearer(), "Origin": "https://app.example"}
    closed = registry.get("/api/v1/archives", headers=header).headers
    assert not [name for name in closed.keys() if name.startswith("Access-Control")]  # noqa: SIM118
    opened = _with(world, cors_origins="https://app.example https://b.example").registry()
    answer = opened.get("/api/v1/archives", headers=header)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    preflight = opened.options(DEPOSITS, headers=asked)
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    for origin in ("https://evil.example", "null", "https://app.example.evil"):
        refused = opened.get("/api/v1/archives", headers={**bearer(), "Origin": origin})
        assert "Access-Control-Allow-Origin" not in refused.headers


@pytest.mark.parametrize("limit", ["100000", "201", "0", "-1", "abc", "", "1e9", "1" * 400])
def test_a_page_is_as_large_as_its_request_may_ask_and_no_other(world: World, registry: Client, limit: str) -> None:
    """The peer's page size is that of the whole process, and `?size=abc` a 500."""
    for _ in range(3):
        world.archive()
    answer = registry.get(f"/api/v1/archives?limit={limit}", headers=bearer())
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["errors"][0]["field"] == "query.limit"
    page = registry.get("/api/v1/archives?limit=2", headers=bearer()).json
    whole = registry.get("/api/v1/archives", headers=bearer()).json
    assert page is not None
    assert whole is not None
    assert (len(page["items"]), len(whole["items"])) == (2, 3)


SCHEDULE = {"name": "n", "source": "zenodo", "query": "q", "cron": "@daily"}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "/pipelines/no_such_name", {"steps": ["ingest", "preserve"]}, "path.name"),
        ("PUT", "/pipelines/p", {"steps": ["publish"]}, "body.steps"),
        ("POST", "/archives/{archive}/run", {"steps": ["harvest"]}, "body.steps"),
        ("PUT", "/credentials/zenodo", {"secret": "zwei\nZeilen"}, "body.secret"),
        ("PUT", "/credentials/cod", {"secret": "secret"}, "path.source"),
        ("POST", "/schedules", {**SCHEDULE, "cron": "61 * * * *"}, "body.cron"),
        ("POST", "/schedules", {**SCHEDULE, "source": "nowhere"}, "body.source"),
        ("POST", "/schedules", {**SCHEDULE, "source": "cod", "way": "oai-pmh"}, "body.way"),
        ("POST", "/schedules", {**SCHEDULE, "base_url": "https://elsewhere.test"}, "body.base_url"),
        ("POST", "/schedules", {**SCHEDULE, "pipeline": ["harvest", "archive"]}, "body.pipeline"),
        ("POST", "/harvests/resolve", {"url": "ftp://nowhere.test/x"}, "body.url"),
        ("GET", "/sources/zenodo/search?q=x&page=1000&size=100", None, "query.page"),
        ("GET", "/archives?q=%00", None, "query.q"),
        ("POST", "/collections", {"name": "a\0b"}, "body.name"),
        ("POST", "/collections", {"name": "a", "description": "half a pair: \ud83d"}, "body.description"),
        ("POST", "/collections", ["a"], "body"),
    ],
)
def test_the_field_at_fault_is_named_whoever_rejects_it(
    world: World, method: str, path: str, body: Any, field: str
) -> None:
    archive = world.archive(pipeline=["ingest"])
    world.step(archive, "ingest", 0, "completed")
    keyed = _with(world, credential_keys=SecretStr(base64.b64encode(bytes(32)).decode()))
    sent = {} if body is None else {"json": body}
    header = bearer(world.token(world.account("administrator", "archivist", "depositor")))
    answer = keyed.registry().open(f"/api/v1{path.format(archive=archive)}", method=method, headers=header, **sent)
    told = answer.get_json()
    assert answer.status_code == 422, told
    assert [error["field"] for error in told["errors"]] == [field]


def test_knowing_the_caller_and_checking_the_ids_costs_two_statements(world: World, registry: Client) -> None:
    archive = world.published()
    header = world.bearer("viewer")
    registry.get(f"/api/v1/archives/{archive}", headers=header)
    counting = world.statements()
    seen = next(counting)
    assert registry.get(f"/api/v1/archives/{archive}", headers=header).status_code == 200
    next(counting, None)
    assert sum("FROM token" in statement or "secret_hash" in statement for statement in seen) == 1
    assert len(seen) <= 10


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize("role", ["viewer", "depositor", "archivist", "administrator"])
def test_a_request_costs_ten_statements_with_the_limiter_and_a_session_that_is_renewed(
    world: World, role: str, restricted: bool
) -> None:
    limited = _with(world, rate_limit=10)
    account = world.account(role, groups=["curators"])
    archive = world.published(restricted=restricted, resource_id=world.resource("zenodo", "1"))
    world.step(archive, "ingest", 0, "completed")
    world.premis(archive, "ingestion")
    collection = world.collection(archive)
    world.grant(account_id=account, archive_id=archive)
    world.grant(group_name="curators", collection_id=collection)
    pages = [f"/archives/{archive}", f"/archives/{archive}/live", "/archives", "/archives?q=title", "/statistics"]
    pages += ["/failures", f"/collections/{collection}"]
    for path in [*pages, f"/api/v1/archives/{archive}", "/api/v1/archives/facets", "/api/v1/statistics"]:
        with world.engine.begin() as connection:
            session = sessions.begin(connection, account)
            connection.execute(text("UPDATE browser_session SET rotated_at = rotated_at - interval '1 day'"))
        browser = limited.registry()
        browser.set_cookie(cookie_name(limited.settings), session.cookie or "", domain="registry.test")
        counting = world.statements()
        seen = next(counting)
        answer = browser.get(path, base_url=BASE)
        next(counting, None)
        assert answer.status_code == 200
        assert "Set-Cookie" in answer.headers
        assert [sum(word in each for each in seen) for word in ("INTO rate_bucket", "UPDATE browser_session")] == [1, 1]
        assert len(seen) <= 10, (path, len(seen))


@pytest.mark.parametrize(
    ("path", "body", "fields"),
    [
        ("jobs/plan", {"act": "retry"}, ["filter", "archives"]),
        ("jobs/plan", {"act": "run", "filter": {}}, ["steps"]),
        ("jobs/plan", {"act": "collect", "filter": {}}, ["collection"]),
        ("announcements", {"bucket": "incoming"}, ["packages", "prefix"]),
        ("grants", {"user": NOBODY}, ["archive", "collection"]),
        ("grants", {"archive": NOBODY}, ["user", "group"]),
        ("harvests", {}, ["url", "source", "recid"]),
        ("harvests", {"source": "zenodo"}, ["source", "recid"]),
    ],
)
def test_members_that_do_not_fit_each_other_are_each_named(
    world: World, path: str, body: dict[str, Any], fields: list[str]
) -> None:
    refused = world.registry().post(f"/api/v1/{path}", headers=bearer(), json=body)
    assert refused.status_code == 422
    told = refused.json
    assert told is not None
    assert [error["field"] for error in told["errors"]] == [f"body.{field}" for field in fields]
    assert "Value error" not in refused.text
