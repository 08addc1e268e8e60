"""What the PREMIS log shows to whom: events of restricted Archives do not exist for those who may not see them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Engine
from werkzeug.test import Client
from werkzeug.wrappers import Request

from perdura.accounts.principals import Permission
from perdura.api.log_door import LogDoor
from perdura.ids import new_id
from perdura.premis import log, seal, service
from perdura.premis.model import Event, Identifier
from perdura.premis.query import Sight
from perdura.premis.tables import ObjectLink
from perdura.storage.memory import MemoryStore
from tests.contract.test_api.world import World, bearer


def log_of(world: World) -> Client:
    """The log with the door of the installation."""

    def application(environ: Any, start: Any) -> Any:
        answer = service.respond(Request(environ), world.engine, world.settings, door=LogDoor(world))
        return answer(environ, start)

    return Client(application)


@pytest.fixture
def secret(world: World, engine: Engine) -> UUID:
    """A restricted Archive of two events, beside an open one of three; nothing else is shown."""
    with engine.begin() as connection:
        heads = "premis_event, premis_object, premis_agent_link, premis_count, premis_count_delta"
        connection.exec_driver_sql(f"TRUNCATE {heads}")
    world.premis(world.archive(), "ingestion", "fixity check", "replication")
    hidden = world.archive(restricted=True)
    world.premis(hidden, "secret ingestion", "secret check")
    return hidden


def _event_of(world: World, archive: UUID) -> UUID:
    with world.engine.connect() as connection:
        found = select(ObjectLink.event_id).where(ObjectLink.object == str(archive))
        return connection.execute(found).scalars().first() or archive


def _shown(client: Client, header: dict[str, str]) -> tuple[int, int, int]:
    """(entries of the feed, its total, events counted by the statistics)."""
    feed = client.get("/APP/event/", headers=header).text
    total = int(feed.partition("totalResults>")[2].partition("<")[0])
    return feed.count("<entry>"), total, client.get("/event/statistics.json", headers=header).get_json()["total"]


def test_a_stranger_sees_nothing_of_a_restricted_archive(world: World, secret: UUID) -> None:
    log, event = log_of(world), _event_of(world, secret)
    assert _shown(log, {}) == (3, 3, 3)
    for path in (
        f"/APP/event/{event}/", f"/event/{event}/", f"/event/{event}.json", f"/event/{event}.xml",
        f"/event/{event}.premis.xml", f"/event/{event}.history.json", f"/event/find/{secret}/",
        f"/log/proof/inclusion?event={event}",
    ):  # fmt: skip
        for client, header, status in ((log, {}, 404), (log, bearer(), 200)):
            assert client.get(path, headers=header).status_code == status, (path, header)
        assert log.head(path).status_code == 404
    for path in ("/APP/event/?type=secret", f"/APP/event/?link_object_id={secret}", "/event/export.ndjson",
                 "/event/search.json?type=secret", f"/event/search.json?link_object_id={secret}", "/event/",
                 "/event/search/?orderby=event_type", "/APP/event/?orderby=event_outcome&start_date=2020",
                 f"/event/search/?linked_object_id={secret}"):  # fmt: skip
        answer = log.get(path)
        assert answer.status_code == 200
        assert str(event) not in answer.text, path
        assert str(event) in log.get(path, headers=bearer()).text, path


def _mixed(name: str) -> str:
    return "".join(letter.upper() if place % 2 else letter for place, letter in enumerate(name))


@pytest.mark.parametrize("spelt", [str.upper, _mixed])
def test_a_restricted_archive_is_hidden_in_whatever_case_it_is_named(
    world: World, secret: UUID, spelt: Callable[[str], str]
) -> None:
    name = spelt(str(secret))
    event = Event(id=new_id(), type="loud secret", at=datetime.now(UTC), objects=(Identifier("UUID", name),))
    with world.engine.begin() as connection:
        log.append(connection, [event], actor="test")
    reader = log_of(world)
    assert _shown(reader, {}) == (3, 3, 3)
    assert reader.get(f"/event/find/{name}/").status_code == 404
    for path in ("/APP/event/?type=loud", f"/APP/event/?link_object_id={name}", "/event/export.ndjson", "/event/",
                 "/event/search.json?type=loud", f"/event/search/?linked_object_id={name}"):  # fmt: skip
        assert str(event.id) not in reader.get(path).text, path
        assert str(event.id) in reader.get(path, headers=bearer()).text, path
    assert reader.get(f"/event/{event.id}/").status_code == 404


def test_hidden_events_are_found_on_indexes_in_whatever_case(world: World, secret: UUID) -> None:
    sight = Sight("SELECT id FROM archive WHERE restricted")
    with world.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = [row[0] for row in connection.exec_driver_sql(f"EXPLAIN SELECT o.sequence {sight.events}")]
    assert not [line for line in plan if "Seq Scan on premis_object" in line]
    assert [line for line in plan if "ix_premis_object_any_case" in line]


def test_pages_by_number_and_by_cursor_are_the_same_for_who_does_not_see_everything(world: World, secret: UUID) -> None:
    log = log_of(world)
    for order in ("", "&orderby=event_type", "&orderby=event_added"):
        by_number = [log.get(f"/APP/event/?count=2&page={page}{order}").text.count("<entry>") for page in (1, 2)]
        assert by_number == [2, 1]
        assert log.get(f"/APP/event/?count=2&page=3{order}").status_code == 400


@pytest.mark.parametrize(
    ("role", "sees"), [("viewer", 3), ("depositor", 3), ("auditor", 5), ("archivist", 5), ("administrator", 5)]
)
def test_roles_see_what_they_see_in_the_registry(world: World, secret: UUID, role: str, sees: int) -> None:
    assert _shown(log_of(world), world.bearer(role)) == (sees, sees, sees)
    assert _shown(log_of(world), world.bearer(role, scopes=[Permission.READ])) == (3, 3, 3)


def test_a_grant_of_the_archive_or_of_its_collection_opens_its_events(world: World, secret: UUID) -> None:
    for thing in ({"archive_id": secret}, {"collection_id": world.collection(secret)}):
        account = world.account("viewer")
        world.grant(account_id=account, **thing)
        assert _shown(log_of(world), bearer(world.token(account))) == (5, 5, 5)


def test_a_grant_to_a_group_opens_events_to_its_members_only(world: World, secret: UUID) -> None:
    world.grant(group_name="curators", archive_id=secret)
    for groups, sees in ((["curators", "it's"], 5), (["others"], 3)):
        assert _shown(log_of(world), bearer(world.token(world.account("viewer", groups=groups)))) == (sees,) * 3


def test_closed_reads_need_the_right_to_read(world: World, secret: UUID) -> None:
    closed = World(world.engine, world.settings.model_copy(update={"premis_open_reads": False}))
    log = log_of(closed)
    assert log.get("/APP/event/").status_code == 401
    assert "WWW-Authenticate" in log.get("/event/").headers
    assert log.get("/APP/event/", headers=bearer("no good")).status_code == 401
    assert log.get("/APP/event/", headers=world.bearer("depositor", scopes=[Permission.DEPOSIT])).status_code == 403
    assert _shown(log, world.bearer("viewer")) == (3, 3, 3)


def test_who_may_write_but_not_see_changes_nothing_that_is_hidden(world: World, secret: UUID) -> None:
    header = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    path = f"/APP/event/{_event_of(world, secret)}/"
    assert log_of(world).delete(path, headers=header).status_code == 404
    assert log_of(world).put(path, headers=header, data=b"<event xmlns='info:lc/xmlns/premis-v2'/>").status_code == 404


def test_events_of_a_deleted_version_stay_hidden_and_the_tree_can_still_be_rebuilt(world: World, secret: UUID) -> None:
    log, event = log_of(world), _event_of(world, secret)
    assert log.delete(f"/APP/event/{event}/", headers=bearer()).status_code == 200
    assert log.get(f"/event/{event}.history.json").status_code == 404
    assert log.get(f"/event/{event}.history.json", headers=bearer()).status_code == 200
    key = base64.b64encode(bytes(32)).decode()
    settings = world.settings.model_copy(update={"log_signing_keys": key})
    seal.tick(world.engine, MemoryStore(), type(settings).model_validate(settings.model_dump()))
    leaves, everything = log.get("/log/leaves").get_json(), log.get("/log/leaves", headers=bearer()).get_json()
    assert [each["index"] for each in leaves] == [each["index"] for each in everything]
    assert str(secret) not in json.dumps(leaves)
    assert sum("leaf" not in each for each in leaves) == 3  # two events, and the deletion of one
    assert all("leaf" in each for each in everything)


def test_changing_and_denied_acts_are_in_the_audit_log(world: World, secret: UUID) -> None:
    log, event = log_of(world), _event_of(world, secret)
    agent = {"data": b"<agent xmlns='info:lc/xmlns/premis-v2'><agentIdentifier><agentIdentifierType>t"
             b"</agentIdentifierType><agentIdentifierValue>a</agentIdentifierValue></agentIdentifier>"
             b"<agentName>n</agentName><agentType>software</agentType></agent>"}  # fmt: skip
    assert log.post("/APP/agent/", headers=bearer(), **agent).status_code == 201
    assert log.delete(f"/APP/event/{event}/", headers=bearer()).status_code == 200
    assert log.post("/APP/agent/", **agent).status_code == 401
    assert log.delete("/APP/agent/a/", headers=world.bearer("viewer")).status_code == 403
    told = [(entry.actor, entry.action, entry.outcome, entry.objects) for entry in world.audited()]
    assert told[:3] == [
        ("administrator", "premis.agent.create", "done", ["a"]),
        ("administrator", "premis.delete", "done", [str(event)]),
        ("anonymous", "premis.write", "denied", []),
    ]
    assert told[3][1:3] == ("premis.write", "denied")


def test_denied_acts_of_an_address_fill_the_audit_log_no_faster_than_strangers_may_ask(world: World) -> None:
    limited = World(world.engine, world.settings.model_copy(update={"rate_limit_strangers": 5, "proxies": 1}))
    log = log_of(limited)

    def denied(address: str, header: dict[str, str]) -> int:
        return log.delete("/APP/agent/a/", headers={"X-Forwarded-For": address, **header}).status_code

    assert [denied("192.0.2.1", {}) for _ in range(5)] == [401] * 5
    assert [denied("192.0.2.1", bearer("no good")) for _ in range(5)] == [401] * 5
    assert denied("192.0.2.2", {}) == 401
    assert [entry.address for entry in world.audited()] == ["192.0.2.1"] * 5 + ["192.0.2.2"]
