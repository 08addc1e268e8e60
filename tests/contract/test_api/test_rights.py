"""What somebody may not see does not exist for them, in lists and by id; what was denied is recorded."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.engine import Connection
from werkzeug.routing import Rule
from werkzeug.test import Client, TestResponse

from perdura.accounts import rights, sessions
from perdura.accounts.principals import LOCAL_ADMINISTRATOR, Permission, Principal, Role
from perdura.accounts.rights import Thing
from perdura.accounts.tables import Grant
from perdura.api.openapi import OPERATIONS
from perdura.api.operations import Operation
from perdura.ids import new_id
from perdura.premis.model import Identifier
from perdura.registry import restriction
from perdura.registry.tables import Archive, Deposit, PackageFile, Publication
from perdura.web import pages
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in

ROLES = [role.value for role in Role]
SEES_ALL = {"archivist", "auditor", "administrator"}


@pytest.fixture
def restricted(world: World) -> dict[str, Any]:
    """A restricted Archive with one of everything."""
    archive = world.archive(restricted=True, state="failed", title="Secret minutes")
    package, step, deposit = world.aip(archive), world.step(archive, "ingest", 0, "failed"), new_id()
    with world.engine.begin() as connection:
        connection.execute(
            insert(Deposit).values(id=deposit, archive_id=archive, bucket="b", key="k", filename="secret.zip")
        )
    world.premis(archive, "ingestion")
    return {"archive": archive, "package": package, "step": step, "deposit": deposit}


def _reads(things: dict[str, Any]) -> list[str]:
    archive, package = f"/api/v1/archives/{things['archive']}", things["package"]
    return [
        archive,
        f"{archive}/steps",
        f"{archive}/files",
        f"{archive}/events",
        f"{archive}/packages/{package}/content",
        f"{archive}/packages/{package}/files/data/objects/image.png",
        f"/api/v1/deposits/{things['deposit']}",
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_restricted_archive_is_there_for_those_who_may_see_it_only(
    world: World, registry: Client, restricted: dict[str, Any], role: str
) -> None:
    header = world.bearer(role)
    expected = 200 if role in SEES_ALL else 404
    for address in _reads(restricted):
        assert registry.get(address, headers=header).status_code == expected, address
    listed = registry.get("/api/v1/archives", headers=header).json
    assert listed is not None
    assert len(listed["items"]) == (1 if role in SEES_ALL else 0)
    assert ("Secret" in registry.get("/api/v1/archives?q=secret", headers=header).text) is (role in SEES_ALL)


def test_hidden_and_missing_are_told_alike(world: World, registry: Client, restricted: dict[str, Any]) -> None:
    header = world.bearer("viewer")
    hidden = registry.get(f"/api/v1/archives/{restricted['archive']}", headers=header)
    missing = registry.get(f"/api/v1/archives/{new_id()}", headers=header)
    assert (hidden.status_code, hidden.data) == (missing.status_code, missing.data)


BODIES: dict[str, dict[str, Any]] = {
    "run": {"steps": ["archive"]},
    "withdrawal": {"reason": "duplicate"},
    "restriction": {"restricted": True, "reason": "Names of children"},
    "embargo": {"until": None},
    "notifications": {"status": "P"},
    "versions": {"reason": "Better metadata"},
    "versions/uploads": {"size": 1},
}
"""What the acts on an Archive need to be told; the others need nothing."""
ACTS = [each for each in OPERATIONS if each.method not in ("GET", "HEAD") and each.rule.count("<uuid:archive_id>")]


@pytest.mark.parametrize("operation", ACTS, ids=lambda each: each.name)
def test_nobody_acts_on_what_is_hidden_from_them(
    world: World, registry: Client, restricted: dict[str, Any], operation: Operation
) -> None:
    narrow = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE, Permission.DEPOSIT])
    body = BODIES.get(operation.rule.partition("<uuid:archive_id>/")[2], {})
    answers = []
    for archive in (restricted["archive"], new_id()):
        address = operation.rule.replace("<uuid:archive_id>", str(archive))
        address = re.sub("<uuid:[a-z_]+>", lambda _: str(restricted["step"]), address)
        answers.append(registry.open(address, method=operation.method, headers=narrow, json=body))
    hidden, missing = answers
    assert hidden.status_code == 404, hidden.text
    assert hidden.data == missing.data


@pytest.mark.parametrize("act", ["retry", "skip", "cancel", "run", "recall", "check", "restriction", "collections"])
def test_the_pages_act_on_nothing_that_is_hidden_either(
    world: World, registry: Client, restricted: dict[str, Any], act: str
) -> None:
    narrow = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE, Permission.DEPOSIT])
    fields = {"steps": "archive", "restricted": "no", "reason": "Why not", "name": "Mine"}
    answer = registry.post(f"/archives/{restricted['archive']}/{act}", headers=narrow, data=fields, base_url=BASE)
    assert answer.status_code == 404


THINGS = {thing.value for thing in Thing}
PAGES = [
    (rule, method)
    for rule in pages.routes().iter_rules()
    for method in (rule.methods or set()) & {"GET", "POST"}
    if any(name.removesuffix("_id") in THINGS for name in rule.arguments)
]


@pytest.mark.parametrize(("rule", "method"), PAGES, ids=lambda each: getattr(each, "rule", each))
def test_no_token_is_too_narrow_for_the_look_at_the_ids_of_a_page(
    world: World, registry: Client, restricted: dict[str, Any], rule: Rule, method: str
) -> None:
    """A token without `read` is asked like any other whether it may see what it acts on."""
    hidden = {**restricted, "collection": world.collection(restricted=True)}
    fields = {"steps": "archive", "restricted": "no", "reason": "Why not", "name": "Mine"}
    header = world.bearer("archivist", scopes=[Permission.OPERATE])

    def answer(things: dict[str, Any], **sent: Any) -> tuple[int, bytes]:
        values = {name: things.get(name.removesuffix("_id"), "retry") for name in rule.arguments}
        address = rule.rule
        for name, value in values.items():
            address = re.sub(rf"<[^<>]*:{name}>", str(value), address)
        got = registry.open(address, method=method, base_url=BASE, data=fields if method == "POST" else None, **sent)
        return got.status_code, got.data.replace(address.encode(), b"")

    missing = {name: new_id() for name in hidden}
    assert answer(hidden, headers=header) == answer(missing, headers=header)
    assert answer(hidden, headers=header)[0] == 404
    assert answer(hidden) == answer(missing)
    assert answer(hidden)[0] == 303
    roleless = bearer(world.token(world.account()))
    assert answer(hidden, headers=roleless)[0] == answer(missing, headers=roleless)[0] == 403
    with world.engine.connect() as connection:
        kept = connection.exec_driver_sql("SELECT bool_and(restricted), bool_and(state = 'failed') FROM archive").one()
    assert tuple(kept) == (True, True)


def test_scopes_narrow_what_the_role_allows(world: World, registry: Client, restricted: dict[str, Any]) -> None:
    header = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    retry = f"/api/v1/archives/{restricted['archive']}/retry"
    assert registry.post(retry, headers=header).status_code == 404
    assert registry.post(retry, headers=world.bearer("archivist")).status_code == 202
    reading = world.bearer("archivist", scopes=[Permission.READ, Permission.READ_RESTRICTED])
    assert registry.post(retry, headers=reading).status_code == 403


@pytest.mark.parametrize("way", ["account", "group", "collection", "collection of a group"])
def test_a_grant_shows_one_archive_and_no_other(
    world: World, registry: Client, restricted: dict[str, Any], way: str
) -> None:
    other = world.archive(restricted=True)
    account = world.account("viewer", groups=["theses"])
    holder = {"group_name": "theses"} if "group" in way else {"account_id": account}
    if "collection" in way:
        world.grant(**holder, collection_id=world.collection(restricted["archive"]))
    else:
        world.grant(**holder, archive_id=restricted["archive"])
    header = bearer(world.token(account))
    for address in _reads(restricted):
        assert registry.get(address, headers=header).status_code == 200, address
    assert registry.get(f"/api/v1/archives/{other}", headers=header).status_code == 404
    stranger = world.bearer("viewer")
    assert registry.get(f"/api/v1/archives/{restricted['archive']}", headers=stranger).status_code == 404


@pytest.mark.parametrize("act", ["retry", "cancel", "skip"])
def test_a_bulk_act_reaches_no_further_than_single_ones(
    world: World, registry: Client, restricted: dict[str, Any], act: str
) -> None:
    """At the peer anybody started pipelines on restricted Archives by the bulk route."""
    open_one = world.archive(state="failed")
    world.step(open_one, "ingest", 0, "failed")
    header = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    listed = {"act": act, "archives": [str(open_one), str(restricted["archive"])]}
    for address in ("/api/v1/jobs/plan", "/api/v1/jobs"):
        answer = registry.post(address, headers=header, json=listed)
        assert answer.status_code == 404
        assert answer.json is not None
        assert [error["field"] for error in answer.json["errors"]] == ["body.archives.1"]
    planned = registry.post("/api/v1/jobs/plan", headers=header, json={"act": act, "filter": {}}).json
    assert planned is not None
    assert planned["total"] == 1


def test_the_items_of_a_job_hide_what_its_reader_may_not_see(
    world: World, registry: Client, restricted: dict[str, Any]
) -> None:
    world.step(open_one := world.archive(state="failed"), "ingest", 0, "failed")
    made = registry.post("/api/v1/jobs", headers=world.bearer("archivist"), json={"act": "retry", "filter": {}}).json
    assert made is not None
    narrow = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    items = registry.get(f"/api/v1/jobs/{made['id']}/items", headers=narrow).json
    assert items is not None
    assert [item["archive"] for item in items["items"]] == [str(open_one)]
    assert str(restricted["archive"]) not in registry.get(f"/jobs/{made['id']}", headers=narrow).text


def test_who_lacks_the_permission_acts_on_nothing_in_bulk_either(
    world: World, registry: Client, restricted: dict[str, Any]
) -> None:
    sent = {"act": "cancel", "archives": [str(world.archive())]}
    for role in ("viewer", "depositor", "auditor"):
        assert registry.post("/api/v1/jobs", headers=world.bearer(role), json=sent).status_code == 403


def test_a_grant_gives_sight_and_no_power(world: World, registry: Client, restricted: dict[str, Any]) -> None:
    account = world.account("viewer")
    world.grant(account_id=account, archive_id=restricted["archive"])
    header = bearer(world.token(account))
    assert registry.post(f"/api/v1/archives/{restricted['archive']}/retry", headers=header).status_code == 403


def test_who_deposits_sees_what_becomes_of_it(world: World, registry: Client) -> None:
    header = world.bearer("depositor")
    made = registry.post("/api/v1/deposits", headers=header, json={"filename": "a.zip", "size": 1}).json
    assert made is not None
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE archive SET restricted = true")
    assert registry.get(f"/api/v1/archives/{made['archive']}", headers=header).status_code == 200
    assert registry.get(f"/api/v1/archives/{made['archive']}", headers=world.bearer("depositor")).status_code == 404


def _restrict(client: Client, archive: UUID, header: dict[str, str], restricted: bool = True) -> TestResponse:
    sent = {"restricted": restricted, "reason": "Names of children"}
    return client.put(f"/api/v1/archives/{archive}/restriction", headers=header, json=sent)


def test_who_may_operate_restricts_and_opens_an_archive_and_both_are_recorded(world: World, registry: Client) -> None:
    archive, archivist, viewer = world.published(), world.bearer("archivist"), world.bearer("viewer")
    address = f"/api/v1/archives/{archive}"
    done = _restrict(registry, archive, archivist)
    assert (done.status_code, done.json) == (
        200,
        {"archive": str(archive), "restricted": True, "published": [], "steps": []},
    )
    assert registry.get(address, headers=viewer).status_code == 404
    assert world.reader().get(f"/archives/{archive}").status_code == 404
    assert _restrict(registry, archive, archivist).status_code == 200
    assert _restrict(registry, archive, archivist, restricted=False).status_code == 200
    assert registry.get(address, headers=viewer).status_code == 200
    events = registry.get(f"{address}/events", headers=archivist).json
    assert events is not None
    told = [event["details"] for event in events["items"] if event["type"] == "policy assignment"]
    assert told == [["Restricted by hand: Names of children"], ["Opened by hand: Names of children"]]
    audited = [(entry.action, entry.outcome, entry.detail) for entry in world.audited() if "restrict" in entry.action]
    reason = {"reason": "Names of children"}
    assert audited == [
        ("set_restriction", "done", {"restricted": True, **reason}),
        ("set_restriction", "done", {"restricted": True, **reason}),
        ("set_restriction", "done", {"restricted": False, **reason}),
    ]


def test_who_handed_an_archive_in_may_restrict_it_and_not_open_it(world: World, registry: Client) -> None:
    mine, other = world.bearer("depositor"), world.bearer("depositor")
    deposit = registry.post("/api/v1/deposits", headers=mine, json={"filename": "a.zip", "size": 1}).json
    harvest = registry.post("/api/v1/harvests", headers=mine, json={"source": "zenodo", "recid": "1"}).json
    assert deposit is not None
    assert harvest is not None
    for archive in (deposit["archive"], harvest["archive"]):
        assert _restrict(registry, archive, other).status_code == 403
        assert _restrict(registry, archive, world.bearer("viewer")).status_code == 403
        assert _restrict(registry, archive, mine).status_code == 200
        assert _restrict(registry, archive, mine, restricted=False).status_code == 403
        assert _restrict(registry, archive, other).status_code == 404
        assert registry.get(f"/api/v1/archives/{archive}", headers=mine).status_code == 200


def test_a_restriction_tells_where_an_archive_is_shown(world: World, registry: Client) -> None:
    archive, url = world.published(), "https://rdm.test/records/1"
    with world.engine.begin() as connection:
        connection.execute(insert(Publication).values(archive_id=archive, destination="rdm", url=url))
    told = _restrict(registry, archive, world.bearer("archivist")).json
    assert told is not None
    assert told["published"] == [url]


def test_a_form_on_the_page_of_an_archive_restricts_it(world: World, registry: Client) -> None:
    sign_in(registry)
    archive = world.archive()
    page = registry.get(f"/archives/{archive}", base_url=BASE)
    assert "Restrict it" in page.text
    sent = {"csrf": csrf_of(page), "restricted": "yes", "reason": "A wish of the heirs"}
    address = f"/archives/{archive}/restriction"
    assert registry.post(address, base_url=BASE, data={**sent, "csrf": "wrong"}).status_code == 403
    assert registry.post(address, base_url=BASE, data=sent).status_code == 303
    assert registry.get(f"/api/v1/archives/{archive}", headers=world.bearer("viewer")).status_code == 404
    assert "Open it" in registry.get(f"/archives/{archive}", base_url=BASE).text
    other = f"/archives/{world.archive()}/restriction"
    assert registry.post(other, base_url=BASE, data=sent, headers=world.bearer("depositor")).status_code == 403


def test_a_restricted_collection_is_hidden_without_a_grant(world: World) -> None:
    open_one, shut, granted = world.collection(), world.collection(restricted=True), world.collection(restricted=True)
    account = world.account("viewer")
    world.grant(account_id=account, collection_id=granted)
    viewer = Principal("v", frozenset({Role.VIEWER}), "token", account)
    named = [(Thing.COLLECTION, identifier) for identifier in (open_one, shut, granted)]
    with world.engine.connect() as connection:
        seen = rights.visible(connection, viewer, named)
        everything = rights.visible(
            connection, Principal("a", frozenset({Role.ARCHIVIST}), "token", LOCAL_ADMINISTRATOR), named
        )
    assert {identifier for _, identifier in seen} == {open_one, granted}
    assert len(everything) == 3


def test_archives_made_for_an_account_become_its_own_in_one_statement(world: World) -> None:
    account, archives = world.account("viewer"), [world.archive(restricted=True) for _ in range(5)]
    viewer = Principal("v", frozenset({Role.VIEWER}), "token", account)
    counting = world.statements()
    seen = next(counting)
    with world.engine.begin() as connection:
        rights.own_for(connection, account, archives[:4], given_by="a schedule")
        assert len(seen) == 1
        rights.own_for(connection, account, archives[2:4], given_by="another")
        rights.own_for(connection, new_id(), archives, given_by="a schedule of nobody")
        found = rights.visible(connection, viewer, [(Thing.ARCHIVE, archive) for archive in archives])
        kept = connection.execute(select(Grant.given_by)).scalars().all()
    next(counting, None)
    assert found == {(Thing.ARCHIVE, archive) for archive in archives[:4]}
    assert kept == ["a schedule"] * 4


def test_own_archives_are_read_only_while_restricted_and_seen_whenever_they_become_so(world: World) -> None:
    """A depositor of a hundred thousand public Archives pays for none of them."""
    account, stranger = world.account("depositor"), Principal("s", frozenset({Role.VIEWER}), "token", new_id())
    maker = Principal("m", frozenset({Role.DEPOSITOR}), "token", account)
    archives = [world.archive(restricted=position == 0) for position in range(4)]
    named = [(Thing.ARCHIVE, archive) for archive in archives]
    with world.engine.begin() as connection:
        rights.own(connection, maker, archives[0])
        rights.own_for(connection, account, archives[1:], given_by="a schedule")

    def read() -> set[UUID | None]:
        granted = rights.granted_archives(maker)
        assert granted is not None
        with world.engine.connect() as connection:
            return set(connection.execute(granted).scalars())

    assert read() == {archives[0]}
    for restricted in (True, False):
        with world.engine.begin() as connection:
            restriction.decide(connection, archives[2], restricted=restricted, reason="", by=Identifier("account", "A"))
            assert rights.visible(connection, maker, named) == set(named)
            hidden = {archives[0], archives[2]} if restricted else {archives[0]}
            assert {each for _, each in rights.visible(connection, stranger, named)} == set(archives) - hidden
        assert read() == hidden


def test_a_grant_and_a_restriction_at_the_same_time_wait_for_each_other(world: World) -> None:
    account = world.account("depositor")
    maker = Principal("m", frozenset({Role.DEPOSITOR}), "token", account)

    def restrict(connection: Connection, archive: UUID) -> None:
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :archive"), {"archive": archive})

    def grant(connection: Connection, archive: UUID) -> None:
        rights.own(connection, maker, archive)

    for first, second in ((restrict, grant), (grant, restrict)):
        archive = world.archive()

        def after() -> None:
            with world.engine.begin() as connection:
                second(connection, archive)  # noqa: B023 - it has ended before the next round

        with ThreadPoolExecutor(1) as other:
            with world.engine.begin() as connection:
                first(connection, archive)
                waiting = other.submit(after)
                with suppress(TimeoutError):
                    waiting.result(timeout=0.5)
                assert not waiting.done()
            waiting.result(timeout=10)
        with world.engine.connect() as connection:
            named = (Thing.ARCHIVE, archive)
            assert rights.visible(connection, maker, [named]) == {named}


def test_the_files_of_ones_own_public_archive_stay_open_under_an_embargo(world: World) -> None:
    archive, account = world.archive(metadata={"embargo_until": "2999-01-01"}), world.account("depositor")
    maker = Principal("m", frozenset({Role.DEPOSITOR}), "token", account)
    with world.engine.begin() as connection:
        rights.own(connection, maker, archive)
        trusted = [
            connection.execute(select(Archive.id).where(rights.trusted_archives(principal))).scalars().all()
            for principal in (maker, Principal("s", frozenset({Role.VIEWER}), "token", new_id()))
        ]
    assert trusted == [[archive], []]


def test_all_ids_of_a_request_cost_one_statement(world: World) -> None:
    archives = [world.archive(restricted=position % 2 == 0) for position in range(20)]
    package = world.aip(archives[1])
    named = [*((Thing.ARCHIVE, archive) for archive in archives), (Thing.PACKAGE, package)]
    viewer = Principal("v", frozenset({Role.VIEWER}), "token", new_id())
    counting = world.statements()
    seen = next(counting)
    with world.engine.connect() as connection:
        found = rights.visible(connection, viewer, named)
    next(counting, None)
    assert len(seen) == 1
    assert found == {*((Thing.ARCHIVE, archive) for archive in archives[1::2]), (Thing.PACKAGE, package)}


def test_statistics_tell_nothing_of_hidden_archives(world: World, registry: Client) -> None:
    """At the peer statistics counted restricted archives for everybody."""
    world.aip(world.archive())
    viewer, archivist = world.bearer("viewer"), world.bearer("archivist")
    before = registry.get("/api/v1/statistics", headers=viewer).json
    assert before is not None
    hidden = world.archive(restricted=True, state="failed", resource_id=world.resource("zenodo", "1"))
    package = world.aip(hidden)
    with world.engine.begin() as connection:
        row = {"package_id": package, "path": "data/s", "size": 9, "checksums": {}, "format_key": "fmt/secret"}
        connection.execute(insert(PackageFile).values(**row, format_name="Secret"))
    world.step(hidden, "preserve", 1, "failed", error_code="secret", finished_at=datetime.now(UTC))
    assert registry.get("/api/v1/statistics", headers=viewer).json == before
    page = registry.get("/statistics", headers=viewer)
    assert "secret" not in page.text.lower()
    assert "<svg" in page.text
    everything = registry.get("/api/v1/statistics", headers=archivist).json
    assert everything is not None
    assert (everything["whole"], everything["archives"]) == (True, before["archives"] + 1)
    assert [each["code"] for each in everything["failures"]] == ["secret"]
    assert {each["format"] for each in everything["formats"]} >= {"fmt/secret"}
    granted = world.account("viewer", name="Greta")
    with world.engine.begin() as connection:
        rights.own_for(connection, granted, [hidden], given_by="an archivist")
    told = registry.get("/api/v1/statistics", headers=bearer(world.token(granted))).json
    assert told == {**everything, "whole": False}
    for restricted in (False, True):
        with world.engine.begin() as connection:
            restriction.decide(connection, hidden, restricted=restricted, reason="", by=Identifier("account", "A"))
        told = registry.get("/api/v1/statistics", headers=viewer).json
        assert told == (before if restricted else {**everything, "whole": False})
    for header, health in ((viewer, "unused"), (archivist, "failing")):
        sources = registry.get("/api/v1/sources/health", headers=header).json
        assert sources is not None
        assert {each["id"]: each["health"] for each in sources["items"]}["zenodo"] == health


def test_a_duplicate_of_what_became_restricted_is_not_named(world: World, registry: Client) -> None:
    first, second, deposit = world.archive(), world.archive(state="rejected"), new_id()
    world.step(second, "ingest", 0, "completed", output={"duplicate_of": str(first)})
    with world.engine.begin() as connection:
        connection.execute(insert(Deposit).values(id=deposit, archive_id=second, bucket="b", key="k", filename="a.zip"))
    viewer = world.bearer("viewer")
    address = f"/api/v1/deposits/{deposit}"
    assert registry.get(address, headers=viewer).get_json()["duplicate_of"] == str(first)
    with world.engine.begin() as connection:
        restriction.decide(connection, first, restricted=True, reason="", by=Identifier("account", "A"))
    told = registry.get(address, headers=viewer).get_json()
    assert (told["duplicate_of"], str(first) in str(told)) == (None, False)
    assert registry.get(address, headers=world.bearer("archivist")).get_json()["duplicate_of"] == str(first)


def test_what_waits_is_told_to_those_who_may_operate(world: World, registry: Client) -> None:
    world.step(world.archive(state="running"), "ingest", 0, "queued")
    told = registry.get("/api/v1/metrics", headers=world.bearer("archivist"))
    assert told.content_type.startswith("text/plain; version=0.0.4")
    assert 'perdura_steps_open{step="ingest",state="queued"} 1' in told.text.splitlines()
    assert registry.get("/api/v1/metrics", headers=world.bearer("viewer")).status_code == 403


def test_denied_acts_are_in_the_audit_log(world: World, registry: Client, restricted: dict[str, Any]) -> None:
    account = world.account("viewer", name="Vera")
    header = bearer(world.token(account))
    retry = f"/api/v1/archives/{restricted['archive']}/retry"
    assert registry.post(retry, headers=header).status_code == 403
    assert registry.get(f"/api/v1/archives/{restricted['archive']}", headers=header).status_code == 404
    assert registry.get(f"/api/v1/archives/{new_id()}", headers=header).status_code == 404
    assert registry.get("/api/v1/archives", headers=bearer("perdura_wrong")).status_code == 401
    told = [(entry.actor, entry.action, entry.outcome, entry.status, entry.account_id) for entry in world.audited()]
    assert told == [
        ("Vera", "retry_archive", "denied", 403, account),
        ("Vera", "get_archive", "denied", 404, account),
        ("anonymous", "list_archives", "denied", 401, None),
    ]
    assert world.audited()[1].objects == [str(restricted["archive"])]
    assert "perdura_wrong" not in str(world.audited())


def test_changing_acts_are_in_the_audit_log(world: World, registry: Client, restricted: dict[str, Any]) -> None:
    header = world.bearer("archivist")
    assert registry.post(f"/api/v1/archives/{restricted['archive']}/retry", headers=header).status_code == 202
    assert registry.get("/api/v1/archives", headers=header).status_code == 200
    made = registry.post("/api/v1/deposits", headers=header, json={"filename": "a.zip", "size": 1}).json
    assert made is not None
    told = [(entry.action, entry.outcome, entry.status, entry.objects) for entry in world.audited()]
    assert told == [
        ("retry_archive", "done", 202, [str(restricted["archive"])]),
        ("create_deposit", "done", 201, [made["archive"]]),
    ]


def test_an_act_that_fails_is_not_recorded_as_done(world: World, registry: Client) -> None:
    archive = world.archive(state="completed")
    world.step(archive, "ingest", 0, "completed")
    answer = registry.post(f"/api/v1/archives/{archive}/retry", headers=bearer())
    assert answer.status_code == 409
    assert world.audited() == []


def test_pages_hide_what_the_api_hides(world: World, registry: Client, restricted: dict[str, Any]) -> None:
    assert sign_in(registry).status_code == 303
    page = f"/archives/{restricted['archive']}"
    assert registry.get(page, base_url="http://registry.test").status_code == 200
    _become(world, "viewer")
    assert registry.get(page, base_url="http://registry.test").status_code == 404
    assert "Secret" not in registry.get("/archives", base_url="http://registry.test").text
    assert "Secret" not in registry.get("/failures", base_url="http://registry.test").text


def _become(world: World, role: str) -> UUID:
    """Give the signed-in browser to an account of another role."""
    account = world.account(role)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE browser_session SET account_id = %s", (account,))
    return account


def test_what_the_pages_and_a_browser_are_denied_is_recorded_with_who_asked(world: World, registry: Client) -> None:
    hidden = world.collection(restricted=True)
    narrow = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    refused = [
        registry.get(f"/archives?collection={hidden}", headers=narrow),
        registry.get(f"/jobs/new?collection={hidden}", headers=narrow),
        registry.post("/jobs", headers=narrow, data={"act": "collect", "into": str(hidden)}),
        registry.post("/jobs", headers=narrow, data={"act": "cancel", "collection": str(hidden)}),
    ]
    assert [answer.status_code for answer in refused] == [404] * 4
    assert [(e.outcome, e.actor, e.objects) for e in world.audited()] == [("denied", "Ada", [str(hidden)])] * 4
    sign_in(registry)
    assert registry.post("/api/v1/collections", json={"name": "x"}, base_url=BASE).status_code == 403
    last = world.audited()[-1]
    assert (last.action, last.outcome, last.actor, last.means) == (
        "create_collection", "denied", "administrator", "session",
    )  # fmt: skip


def test_a_session_that_ends_because_its_cookie_was_copied_is_recorded(world: World, registry: Client) -> None:
    with world.engine.begin() as connection:
        cookie = sessions.begin(connection, LOCAL_ADMINISTRATOR).cookie
        connection.exec_driver_sql(
            "UPDATE browser_session SET previous_hash = secret_hash, secret_hash = '\\x00', "
            "rotated_at = rotated_at - interval '1 hour'"
        )
    registry.set_cookie("perdura_session", cookie or "", domain="registry.test")
    assert registry.get("/archives", base_url=BASE).status_code == 303
    entry = world.audited()[0]
    assert (entry.action, entry.outcome, entry.actor) == ("end_copied_session", "denied", "administrator")
    assert entry.detail == {"reason": "cookie-copied"}
