"""What is done in the background is done within the rights of whoever asked for it, and shows nobody what is hidden."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts import tokens
from perdura.accounts.principals import LOCAL_ADMINISTRATOR, Permission
from perdura.errors import Rejected
from perdura.ids import new_id
from perdura.outcome import ArchiveView, StepView
from perdura.premis import log
from perdura.premis.model import Event, Identifier, Outcome
from perdura.registry import credentials, deposits, runs, schedules
from perdura.registry.run_states import ItemState
from perdura.registry.subscriptions import Due
from perdura.runtime import jobs as running
from perdura.runtime import notifications
from perdura.runtime import schedules as recurring
from perdura.runtime.extras import credential_of
from perdura.settings import Settings
from perdura.steps import recall_events
from tests.contract.test_api.test_naming_objects import DROP_ZONE
from tests.contract.test_api.world import BASE, World, bearer, csrf_of, sign_in


def _items(world: World, registry: Client, header: dict[str, str], path: str, body: Any) -> list[dict[str, Any]]:
    """What became of the things of a job that is asked for and worked off."""
    made = registry.post(f"/api/v1/{path}", json=body, headers=header)
    assert made.status_code == 202, made.text
    running.tick(world)  # type: ignore[arg-type]
    items: list[dict[str, Any]] = registry.get(made.get_json()["links"]["items"], headers=bearer()).get_json()["items"]
    return items


def _announce(world: World, registry: Client, account: UUID, *packages: dict[str, str], **more: str) -> list[Any]:
    body = {"bucket": DROP_ZONE, "packages": packages, **more}
    return _items(world, registry, bearer(world.token(account)), "announcements", body)


def _restricted(world: World, registry: Client, key: str) -> str:
    """An Archive of somebody's object, restricted since."""
    world.store.put(DROP_ZONE, key, b"PK")
    (item,) = _announce(world, registry, world.account("depositor"), {"key": key})
    _restrict(world, item["archive"])
    return str(item["archive"])


def _restrict(world: World, archive: str | UUID) -> None:
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": archive})


# ------------------------------------------------------------------------------------------------ scopes and rights


def test_a_job_leaves_alone_what_the_token_may_not_see_when_it_is_done(world: World, registry: Client) -> None:
    archivist, archive, collection = world.account("archivist"), world.archive(), world.collection()
    body = {"act": "collect", "archives": [str(archive)], "collection": str(collection)}
    narrow = bearer(world.token(archivist, [Permission.READ, Permission.OPERATE]))
    asked = registry.post("/api/v1/jobs", json=body, headers=narrow).get_json()
    _restrict(world, archive)
    running.tick(world)  # type: ignore[arg-type]
    (item,) = registry.get(asked["links"]["items"], headers=bearer()).get_json()["items"]
    assert (item["state"], item["code"]) == ("failed", "not-found")
    (item,) = _items(world, registry, bearer(world.token(archivist)), "jobs", body)
    assert item["state"] == "done"


def test_an_import_takes_nothing_over_that_the_token_did_not_allow(world: World, registry: Client) -> None:
    _restricted(world, registry, "set/a.zip")
    world.store.put(DROP_ZONE, "free/b.zip", b"PK")
    sips = {1: "set/a.zip", 2: "set", 3: "free"}
    archives: list[dict[str, Any]] = [
        {"id": number, "source": "cds", "recid": str(number), "path_to_sip": path} for number, path in sips.items()
    ]
    archives.append({"id": 4, "source": "cds", "recid": "4", "path_to_sip": "free", "path_to_aip": "set/a.zip"})
    body = {"origin": "https://oais.test", "bucket": DROP_ZONE, "archives": archives}
    narrow = bearer(world.token(world.account("administrator"), [Permission.READ, Permission.ADMINISTER]))
    states = [item["state"] for item in _items(world, registry, narrow, "imports/oais", body)]
    assert states == ["failed", "failed", "done", "failed"]
    assert {item["state"] for item in _items(world, registry, bearer(), "imports/oais", body)} == {"done"}


def test_a_schedule_keeps_within_the_tokens_with_which_it_was_made_and_changed(world: World, registry: Client) -> None:
    archivist = world.account("archivist")
    body = {"name": "nightly", "source": "zenodo", "way": "search", "cron": "0 3 * * *", "query": "x"}
    made = registry.post("/api/v1/schedules", json=body, headers=bearer(world.token(archivist))).get_json()
    for more in (Permission.DEPOSIT, Permission.SELF):
        header = bearer(world.token(archivist, [Permission.OPERATE, Permission.READ, more]))
        assert registry.patch(made["links"]["self"], json={"query": "y"}, headers=header).status_code == 200
    with world.engine.begin() as connection:
        run, _ = recurring.run_now(connection, UUID(made["id"]))
        runs.add(connection, run, 0, "zenodo", [runs.NewItem("1", "1", "A record", ItemState.QUEUED)])
        recurring.move(connection, run)
        given = connection.execute(text("SELECT input FROM step")).scalar_one()
        assert schedules.find(connection, UUID(made["id"])).scopes == ["operate", "read"]
    assert given["scopes"] == ["operate", "read"]


def test_a_subscription_tells_no_more_than_the_token_allowed_it_was_made_with(
    world: World, registry: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, hidden = world.account("viewer"), world.archive(title="hidden", restricted=True)
    public = world.archive(title="public")
    wanted = {"way": "email", "address": "ada@example.org", "kinds": ["completed"]}
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE account SET email = 'ada@example.org' WHERE id = :id"), {"id": viewer})
    narrow = bearer(world.token(viewer, [Permission.SELF, Permission.READ]))
    made = registry.post("/api/v1/subscriptions", json=wanted, headers=narrow).get_json()["id"]
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE account SET roles = ARRAY['archivist'] WHERE id = :id"), {"id": viewer})
    _notice(world, made, hidden, public)
    assert _told(world, monkeypatch) == ["public"]


def _notice(world: World, subscription: str | UUID, *archives: UUID) -> None:
    event = json.dumps({"type": "org.perdura.archive.completed.v1", "data": {}})
    with world.engine.begin() as connection:
        for archive in archives:
            noted = (
                "INSERT INTO notice (subscription_id, archive_id, event) VALUES (:id, :archive, CAST(:event AS jsonb))"
            )
            connection.execute(text(noted), {"id": subscription, "archive": archive, "event": event})


def _told(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The titles of the Archives that a tick tells of."""
    titles: list[str] = []

    def send(_settings: Settings, due: Due) -> None:
        titles.extend(due.titles[archive] for _, archive, _ in due.notices if archive is not None)

    monkeypatch.setattr(notifications, "SENDERS", dict.fromkeys(notifications.SENDERS, send))
    notifications.tick(world)  # type: ignore[arg-type]
    return titles


def test_what_the_administrators_token_subscribed_to_ends_with_it_and_an_administrator_ends_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, subscription = world.archive(title="hidden", restricted=True), new_id()
    row = {"id": subscription, "account": LOCAL_ADMINISTRATOR}
    with world.engine.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO subscription (id, account_id, owner, way, address, secret, kinds)
                VALUES (:id, :account, 'administrator', 'webhook', 'https://old.example/', '', ARRAY['completed'])
            """),
            row,
        )
    _notice(world, subscription, hidden)
    world = World(world.engine, world.settings.model_copy(update={"oidc_issuer": "https://id.test"}), world.store)
    assert _told(world, monkeypatch) == []
    registry, address = world.registry(), f"/api/v1/users/{LOCAL_ADMINISTRATOR}/subscriptions"
    assert registry.get(address, headers=world.bearer("archivist")).status_code == 403
    administrator = world.bearer("administrator")
    (listed,) = registry.get(address, headers=administrator).get_json()["items"]
    assert (listed["id"], listed["address"]) == (str(subscription), "https://old.example/")
    assert "secret" not in listed
    theirs = f"/api/v1/users/{new_id()}/subscriptions/{subscription}"
    assert registry.delete(theirs, headers=administrator).status_code == 404
    assert registry.delete(f"{address}/{subscription}", headers=administrator).status_code == 204
    entry = world.audited()[-1]
    assert entry.action == "end_subscription_of_user"
    assert set(entry.objects) == {str(LOCAL_ADMINISTRATOR), str(subscription)}
    assert registry.get(address, headers=administrator).get_json()["items"] == []


def test_the_page_of_an_account_ends_what_it_is_told(world: World, registry: Client) -> None:
    account = world.account("archivist")
    wanted = {"way": "email", "address": "old@example.org", "kinds": ["failed"]}
    registry.post("/api/v1/subscriptions", json=wanted, headers=bearer(world.token(account)))
    sign_in(registry)
    address = f"/administration/users/{account}"
    page = registry.get(address, base_url=BASE)
    assert "old@example.org" in page.text
    with world.engine.connect() as connection:
        made = connection.execute(text("SELECT id FROM subscription")).scalar_one()
    sent = registry.post(f"{address}/subscriptions/{made}/end", base_url=BASE, data={"csrf": csrf_of(page)})
    assert sent.status_code == 303
    assert "old@example.org" not in registry.get(address, base_url=BASE).text


# ------------------------------------------------------------------------------------------ accounts that are shut


def _shut(world: World, registry: Client, account: UUID) -> None:
    header = world.bearer("administrator")
    assert registry.patch(f"/api/v1/users/{account}", json={"disabled": True}, headers=header).status_code == 200


SCHEDULE = {"name": "nightly", "source": "zenodo", "way": "search", "cron": "0 3 * * *", "query": "x"}


def test_a_schedule_of_an_account_that_is_shut_stops_and_says_why_until_somebody_takes_it_over(
    world: World, registry: Client
) -> None:
    owner = world.account("archivist", name="Grace")
    made = registry.post("/api/v1/schedules", json=SCHEDULE, headers=bearer(world.token(owner))).get_json()
    own, schedule = made["links"]["self"], UUID(made["id"])
    with world.engine.begin() as connection:
        run, _ = recurring.run_now(connection, schedule)
        runs.add(connection, run, 0, "zenodo", [runs.NewItem("1", "1", "A record", ItemState.QUEUED)])
    _shut(world, registry, owner)
    assert recurring.tick(world) == []  # type: ignore[arg-type]
    header = bearer(world.token(world.account("archivist", name="Ida"), [Permission.READ, Permission.OPERATE]))
    stopped = registry.get(own, headers=header).get_json()
    assert (stopped["state"], stopped["reason"], stopped["next"]) == ("paused", schedules.SHUT, None)
    assert (stopped["last_run"]["state"], stopped["last_run"]["reason"]) == ("paused", schedules.SHUT)
    assert {(entry.action, entry.actor, *entry.objects) for entry in world.audited() if entry.means == "job"} == {
        ("pause_schedule", "schedules", str(schedule)), ("pause_run", "schedules", str(run)),
    }  # fmt: skip
    sign_in(registry)
    for page in (f"/schedules/{schedule}", "/schedules"):
        assert "is shut" in registry.get(page, base_url=BASE).text
    for refused in (f"{own}/runs", f"/api/v1/runs/{run}/resume", f"/api/v1/runs/{run}/retry"):
        answer = registry.post(refused, headers=header)
        assert answer.status_code == 409, refused
        assert answer.get_json()["type"].endswith("account-shut")
    resumed = registry.post(f"{own}/resume", headers=header).get_json()
    assert (resumed["state"], resumed["owner"], resumed["reason"]) == ("active", "Ida", None)
    assert world.audited()[-1].detail["owner_before"] == "Grace"
    assert registry.post(f"/api/v1/runs/{run}/resume", headers=header).status_code == 200
    with world.engine.begin() as connection:
        assert schedules.find(connection, schedule).scopes == ["operate", "read"]
        recurring.move(connection, run)
        given = connection.execute(text("SELECT input FROM step")).scalar_one()
    assert given["requested_by"] != str(owner)


def test_resuming_a_schedule_whose_account_is_open_leaves_it_whose_it_is(world: World, registry: Client) -> None:
    owner = world.account("archivist", name="Grace")
    made = registry.post("/api/v1/schedules", json=SCHEDULE, headers=bearer(world.token(owner))).get_json()
    for act in ("pause", "resume"):
        changed = registry.post(f"{made['links']['self']}/{act}", headers=world.bearer("archivist")).get_json()
    assert (changed["state"], changed["owner"]) == ("active", "Grace")


def test_no_credential_of_an_account_that_is_shut_is_used(world: World, registry: Client) -> None:
    owner, source = world.account("archivist"), "zenodo"
    keyed = world.settings.model_copy(update={"credential_keys": SecretStr(base64.b64encode(bytes(32)).decode())})
    with world.engine.begin() as connection:
        credentials.put(connection, keyed, owner, source, "secret")
    assert credential_of(world.engine, keyed, owner, source) == "secret"
    _shut(world, registry, owner)
    with world.engine.connect() as connection:
        (before,) = credentials.kept(connection, owner)
    with pytest.raises(Rejected) as refused:
        credential_of(world.engine, keyed, owner, source)
    assert refused.value.code == "account-shut"
    with world.engine.connect() as connection:
        assert credentials.kept(connection, owner) == [before]
    assert credential_of(world.engine, keyed, owner, "gitlab") is None


@pytest.mark.parametrize("lost", ["account", "role"])
def test_a_job_stops_with_the_account_or_the_role_that_it_was_asked_with(
    world: World, registry: Client, lost: str
) -> None:
    archivist, collection = world.account("archivist"), world.collection()
    header, archive = bearer(world.token(archivist)), world.archive()
    world.store.put(DROP_ZONE, "a.zip", b"PK")
    asked = {
        "jobs": {"act": "collect", "archives": [str(archive)], "collection": str(collection)},
        "announcements": {"bucket": DROP_ZONE, "packages": [{"key": "a.zip"}]},
    }
    made = [registry.post(f"/api/v1/{path}", json=body, headers=header).get_json() for path, body in asked.items()]
    if lost == "account":
        _shut(world, registry, archivist)
    else:
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE account SET roles = ARRAY['viewer'] WHERE id = :id"), {"id": archivist})
    assert running.tick(world) == []  # type: ignore[arg-type]
    for job in made:
        (item,) = registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]
        assert (item["state"], item["code"]) == ("failed", "forbidden")
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM collection_member")).scalar() == 0
        assert connection.execute(text("SELECT count(*) FROM archive")).scalar() == 1


def test_a_subscription_of_an_account_that_is_shut_is_paused_and_says_why(
    world: World, registry: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, public = world.account("viewer", email="ada@example.org"), world.archive(title="public")
    wanted = {"way": "email", "address": "ada@example.org", "kinds": ["completed"]}
    made = registry.post("/api/v1/subscriptions", json=wanted, headers=bearer(world.token(viewer))).get_json()
    _notice(world, made["id"], public)
    _shut(world, registry, viewer)
    assert _told(world, monkeypatch) == []
    address = f"/api/v1/users/{viewer}/subscriptions"
    (listed,) = registry.get(address, headers=world.bearer("administrator")).get_json()["items"]
    assert (listed["active"], listed["last_error"]) == (False, "The account whose it is is shut.")
    with world.engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM notice")).scalar() == 0


# -------------------------------------------------------------------------------------------------- what others have


def test_announcing_a_restricted_archive_that_one_sees_hands_it_on_to_nobody(world: World, registry: Client) -> None:
    world.store.put(DROP_ZONE, "mine.zip", b"mine")
    hidden = _restricted(world, registry, "set/a.zip")
    depositor, member = world.account("depositor"), world.account("viewer", groups=["g"])
    world.grant(account_id=depositor, archive_id=UUID(hidden))
    collection = world.collection()
    world.grant(group_name="g", collection_id=collection)
    there, mine = _announce(
        world, registry, depositor, {"key": "set/a.zip"}, {"key": "mine.zip"}, collection=str(collection)
    )
    assert [there["archive"], there["state"], mine["state"]] == [hidden, "done", "done"]
    assert registry.get(f"/api/v1/archives/{hidden}", headers=bearer(world.token(member))).status_code == 404
    listed = registry.get(f"/api/v1/archives?collection={collection}", headers=bearer()).get_json()["items"]
    assert [each["id"] for each in listed] == [mine["archive"]]


def test_a_digest_that_somebody_announces_ends_no_ingest_of_another(world: World, registry: Client) -> None:
    for key in ("theirs.zip", "nobodys.zip"):
        world.store.put(DROP_ZONE, key, b"PK")
    _announce(world, registry, world.account("depositor"), {"key": "theirs.zip"})
    info = world.store.head(DROP_ZONE, "nobodys.zip")
    arrived = deposits.Arrival(DROP_ZONE, "nobodys.zip", info.ref.version_id, info.ref.etag, info.size)
    with world.engine.begin() as connection:
        deposits.receive(connection, arrived, source="/test")
    other, wrong = world.account("depositor"), "0" * 64
    packages = [{"key": f"{whose}.zip", "sha256": wrong} for whose in ("theirs", "nobodys")]
    refused, waits = _announce(world, registry, other, *packages)
    assert (refused["state"], refused["code"], waits["state"]) == ("failed", "digest-not-compared", "queued")
    with world.engine.connect() as connection:
        given = connection.execute(text("SELECT input FROM step")).scalars().all()
    assert len(given) == 2
    assert all("expected_sha256" not in each for each in given)


# ------------------------------------------------------------------------------------------------- ids of the hidden


def _noted(world: World, *events: Event) -> None:
    with world.engine.begin() as connection:
        log.append(connection, events, actor="test")


def _about(kind: str, *archives: UUID) -> Event:
    return Event(
        id=new_id(),
        type=kind,
        at=datetime.now(UTC),
        outcomes=(Outcome("success"),),
        agents=(Identifier("software", "x", ("executing program",)),),
        objects=tuple(
            Identifier("UUID", str(each).upper() if each in archives[1:] else str(each)) for each in archives
        ),
    )


def test_an_event_that_names_a_hidden_archive_is_not_among_those_of_another(
    world: World, registry: Client, reader: Client
) -> None:
    shown, hidden = world.published(), world.archive(restricted=True)
    _noted(world, _about("first", shown), *(_about("both", shown, hidden) for _ in range(3)), _about("last", shown))
    address = f"/api/v1/archives/{shown}/events"
    viewer, archivist = world.bearer("viewer"), world.bearer("archivist")

    def types(header: dict[str, str]) -> list[str]:
        found, cursor = [], ""
        while True:
            page = registry.get(f"{address}?limit=1{cursor}", headers=header).get_json()
            found += [item["type"] for item in page["items"]]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    assert types(viewer) == ["first", "last"]
    assert types(archivist) == ["first", "both", "both", "both", "last"]
    for told in (
        registry.get(f"{address}?format=premis", headers=viewer),
        registry.get(f"/archives/{shown}", headers=viewer),
        reader.get(f"/archives/{shown}/premis.xml"),
    ):
        assert told.status_code == 200
        assert str(hidden) not in told.text.lower()
        assert str(shown) in told.text.lower()


def test_the_loss_of_a_container_names_no_archive_to_another() -> None:
    recalled, owner, package = new_id(), new_id(), new_id()
    view = ArchiveView(recalled, StepView(new_id(), "recall", 1, {}, {}))
    event = recall_events.lost_with(view, datetime.now(UTC), "tape://x", owner=owner, package=package)
    assert str(recalled) not in repr(event)
    assert {thing.value for thing in event.objects} == {str(owner), str(package)}


def test_an_aip_that_another_archive_has_is_refused_without_its_id(world: World, registry: Client) -> None:
    aip = "e342835e-b3ba-4d07-a70d-4bb727ad1a91"
    world.store.put(DROP_ZONE, "a.zip", b"PK")
    archives = [
        {"id": number, "source": "cds", "recid": str(number), "path_to_sip": "a.zip", "path_to_aip": f"a-{aip}.7z"}
        for number in (1, 2)
    ]
    body = {"origin": "https://oais.test", "bucket": DROP_ZONE, "archives": archives}
    first, second = _items(world, registry, bearer(), "imports/oais", body)
    assert second["code"] == "aip-taken"
    assert first["archive"] not in second["message"]


# --------------------------------------------------------------------------------------------------- the audit log


def test_acts_on_what_is_anothers_are_in_the_audit_log_from_the_pages_too(world: World, registry: Client) -> None:
    theirs = bearer(world.token(world.account("archivist")))
    archive = world.archive(state="failed")
    world.step(archive, "ingest", 0, "failed")
    wanted = {"way": "email", "address": "a@example.org", "kinds": ["failed"]}
    told = registry.post("/api/v1/subscriptions", json=wanted, headers=theirs).get_json()["id"]
    token = registry.get("/api/v1/users/me/tokens", headers=theirs).get_json()["items"][0]["id"]
    job = registry.post("/api/v1/jobs", json={"act": "retry", "archives": [str(archive)]}, headers=theirs).get_json()
    deposit = registry.post("/api/v1/deposits", json={"filename": "a.zip", "size": 1}, headers=theirs).get_json()
    other = world.bearer("depositor")
    api = [
        ("get", f"jobs/{job['id']}", job["id"]), ("get", f"jobs/{job['id']}/items", job["id"]),
        ("get", f"subscriptions/{told}", told), ("patch", f"subscriptions/{told}", told),
        ("post", f"subscriptions/{told}/test", told), ("delete", f"subscriptions/{told}", told),
        ("delete", f"users/me/tokens/{token}", token), ("post", f"deposits/{deposit['id']}/complete", deposit["id"]),
        ("post", f"deposits/{deposit['id']}/cancel", deposit["id"]),
    ]  # fmt: skip
    for method, path, thing in api:
        sent = {"json": {"active": False}} if method == "patch" else {}
        answer = getattr(registry, method)(f"/api/v1/{path}", headers=other, **sent)
        assert answer.status_code in {403, 404}, path
        entry = world.audited()[-1]
        assert (entry.outcome, entry.method, entry.path) == ("denied", method.upper(), f"/api/v1/{path}")
        assert thing in entry.objects, path
    sign_in(registry)
    csrf = csrf_of(registry.get("/notifications", base_url=BASE))
    for path, thing in ((f"/notifications/{told}/end", told), (f"/account/tokens/{token}/end", token)):
        assert registry.post(path, base_url=BASE, data={"csrf": csrf}).status_code == 404
        entry = world.audited()[-1]
        assert (entry.outcome, entry.path, list(entry.objects)) == ("denied", path, [thing])


def test_a_token_that_is_made_while_its_parent_ends_is_good_for_nothing(world: World, registry: Client) -> None:
    account = world.account("archivist")
    header = bearer(world.token(account))
    (parent,) = registry.get("/api/v1/users/me/tokens", headers=header).get_json()["items"]
    assert registry.delete(f"/api/v1/users/me/tokens/{parent['id']}", headers=header).status_code == 200
    expires = datetime.now(UTC) + timedelta(days=1)
    with world.engine.begin() as connection:
        _, secret = tokens.issue(
            connection, account, name="late", scopes=Permission, expires_at=expires, made_with=UUID(parent["id"])
        )
    assert registry.get("/api/v1/users/me", headers=bearer(secret)).status_code == 401
