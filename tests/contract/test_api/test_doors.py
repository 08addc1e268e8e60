"""The door of the access pages: restriction, embargo, passes and withdrawal, at every door; and previews."""

from __future__ import annotations

import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from werkzeug.test import Client

from perdura.accounts.principals import Permission
from perdura.api.queries import published
from perdura.api.resources import OPERATIONS
from perdura.ports import Placed
from perdura.premis import log
from perdura.registry.placements import RegistryPlacements
from perdura.web import passes
from tests.contract.test_api.world import BASE, FILES, World, bearer, csrf_of, sign_in

SECRET = "a secret for links"
PACKAGE = "/archives/<uuid:archive_id>/packages/<uuid:package_id>"
BYTES = ["/aip", "/files.zip", "/files/data/objects/image.png", "/view/data/objects/image.png"]
METADATA = ["", "/metadata.json", "/schema.json", "/datacite.json", "/linkset.json", "/premis.xml", "/files"]
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()


@pytest.fixture
def linked(world: World) -> World:
    """A world in which passes can be made."""
    return replace(world, settings=world.settings.model_copy(update={"access_link_secret": SecretStr(SECRET)}))


def test_an_embargo_shuts_every_door_to_bytes_and_none_to_the_description(world: World, reader: Client) -> None:
    archive = world.published(metadata_={"embargo_until": TOMORROW})
    assert {reader.get(f"/archives/{archive}{door}").status_code for door in METADATA} == {200}
    assert {reader.get(f"/archives/{archive}{door}").status_code for door in BYTES} == {403}
    page = reader.get(f"/archives/{archive}").text
    assert f"under embargo until {TOMORROW}" in page
    assert "files.zip" not in page
    assert "All files" not in page
    assert reader.get(f"/archives/{archive}/schema.json").json["isAccessibleForFree"] is False
    assert reader.get(f"/archives/{archive}/metadata.json").json["embargo"] == TOMORROW
    assert {"date": TOMORROW, "dateType": "Available"} in reader.get(f"/archives/{archive}/datacite.json").json["dates"]
    harvested = reader.get("/oai?verb=ListRecords&metadataPrefix=oai_dc").text
    assert "info:eu-repo/semantics/embargoedAccess" in harvested


def registry_doors(world: World, archive: UUID) -> list[str]:
    """Every operation of the registry that gives bytes of an Archive, with the ways it gives them."""
    with world.engine.connect() as connection:
        package = published.aip(connection, archive).id
    given = {
        f"{PACKAGE}/content": ["", "?delivery=stream", "?delivery=redirect"],
        f"{PACKAGE}/files/<path:path>": ["", "?view=1"],
    }
    described = {"/archives/<uuid:archive_id>/events"}
    found = {
        operation.rule.removeprefix("/api/v1")
        for operation in OPERATIONS
        if operation.method == "GET" and operation.media and "<uuid:" in operation.rule
    }
    assert found == given.keys() | described, "a new way to bytes has to be listed here, and to ask the door"
    paths = [
        rule.replace("<uuid:archive_id>", str(archive))
        .replace("<uuid:package_id>", str(package))
        .replace("<path:path>", "data/objects/image.png")
        + way
        for rule, ways in given.items()
        for way in ways
    ]
    return [f"/api/v1{path}" for path in paths]


def statuses(registry: Client, doors: list[str], header: dict[str, str]) -> set[int]:
    return {
        registry.open(door, method=method, headers=header | ranged).status_code
        for door in doors
        for method in ("GET", "HEAD")
        for ranged in ({}, {"Range": "bytes=0-0"})
    }


def test_an_embargo_shuts_the_registrys_doors_to_bytes_as_well(world: World, registry: Client) -> None:
    archive = world.published(metadata_={"embargo_until": TOMORROW})
    doors = registry_doors(world, archive)
    for role in ("viewer", "depositor"):
        header = world.bearer(role)
        assert statuses(registry, doors, header) == {403}, role
        told = registry.get(doors[0], headers=header).json
        assert told is not None
        assert told["detail"] == f"The files of this Archive are under embargo until {TOMORROW}."
        shown = registry.get(f"/api/v1/archives/{archive}", headers=header)
        listed = registry.get(f"/api/v1/archives/{archive}/files", headers=header)
        assert shown.json is not None
        assert shown.json["embargo"] == TOMORROW
        assert "/content" not in shown.text
        assert "data/objects/image.png" in listed.text
        assert "/packages/" not in listed.text
    scoped = world.bearer("archivist", scopes=[Permission.READ, Permission.OPERATE])
    assert statuses(registry, doors, scoped) == {403}
    over = world.published(metadata_={"embargo_until": YESTERDAY})
    assert 403 not in statuses(registry, registry_doors(world, over), world.bearer("viewer"))


def test_an_embargo_does_not_concern_those_who_may_see_what_is_restricted_nor_the_depositor(
    world: World, registry: Client
) -> None:
    archive = world.published(metadata_={"embargo_until": TOMORROW})
    doors = registry_doors(world, archive)
    owner, granted = world.account("depositor"), world.account("viewer")
    world.grant(account_id=owner, archive_id=archive)
    world.grant(account_id=granted, collection_id=world.collection(archive))
    for header in (
        world.bearer("archivist"),
        world.bearer("auditor"),
        bearer(),
        bearer(world.token(owner)),
        bearer(world.token(granted)),
    ):
        assert statuses(registry, doors, header) == {200, 206, 307}
        assert "/content" in registry.get(f"/api/v1/archives/{archive}", headers=header).text


def test_the_registrys_page_of_an_archive_under_embargo_says_so_and_links_no_bytes(world: World) -> None:
    archive = world.published(metadata_={"embargo_until": TOMORROW})
    registry = world.registry()
    sign_in(registry)
    assert "/content" in registry.get(f"/archives/{archive}", base_url=BASE).text
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE browser_session SET account_id = %s", (world.account("viewer"),))
    page = registry.get(f"/archives/{archive}", base_url=BASE).text
    assert f"under embargo until {TOMORROW}" in page
    assert "data/objects/image.png" in page
    assert "/content" not in page
    assert "/packages/" not in page


@pytest.mark.parametrize("until", [YESTERDAY, "never", None, 5])
def test_an_embargo_that_is_over_or_none_shuts_nothing(world: World, reader: Client, until: object) -> None:
    archive = world.published(metadata_={"embargo_until": until})
    assert {reader.get(f"/archives/{archive}{door}").status_code for door in BYTES} == {200}


@pytest.mark.parametrize("thing", ["aip", "files.zip", "files/data/objects/image.png"])
def test_a_pass_opens_one_thing_of_a_hidden_archive_until_it_expires(linked: World, thing: str) -> None:
    reader = linked.reader()
    archive, other = linked.published(restricted=True), linked.published(restricted=True)
    now = datetime.now(UTC)
    address = passes.link(linked.settings, archive, thing, now + timedelta(minutes=5))
    assert address is not None
    path, query = urlsplit(address).path, urlsplit(address).query
    assert reader.get(f"{path}?{query}").status_code == 200
    assert reader.get(f"{path}?{query}", headers={"Range": "bytes=0-9"}).status_code == 206
    assert reader.get(path).status_code == 404
    for wrong in (query.replace("until=1", "until=2"), query[:-1] + ("0" if query[-1] != "0" else "1"), "pass=&until="):
        assert reader.get(f"{path}?{wrong}").status_code == 404
    assert reader.get(path.replace(str(archive), str(other)) + f"?{query}").status_code == 404
    for door in METADATA:
        assert reader.get(f"/archives/{archive}{door}?{query}").status_code == 404
    gone = passes.link(linked.settings, archive, thing, now - timedelta(seconds=2))
    assert gone is not None
    assert reader.get(f"{path}?{urlsplit(gone).query}").status_code == 404


def test_without_a_secret_there_are_no_passes(world: World, linked: World, reader: Client) -> None:
    archive = world.published(restricted=True)
    address = passes.link(linked.settings, archive, "aip", datetime.now(UTC) + timedelta(hours=1))
    assert address is not None
    assert reader.get(f"/archives/{archive}/aip?{urlsplit(address).query}").status_code == 404
    answer = world.registry().post(f"/api/v1/archives/{archive}/passes", json={"thing": "aip"}, headers=bearer())
    assert answer.status_code == 409


def test_a_pass_is_made_by_those_who_may_and_works_for_everybody(linked: World) -> None:
    registry, reader = linked.registry(), linked.reader()
    archive = linked.published(restricted=True)
    address = f"/api/v1/archives/{archive}/passes"
    body = {"thing": "file", "path": "data/objects/image.png", "hours": 1}
    made = registry.post(address, json=body, headers=bearer())
    assert made.status_code == 201
    link = urlsplit(made.json["url"])
    assert reader.get(f"{link.path}?{link.query}").data == FILES["data/objects/image.png"]
    assert registry.post(address, json=body, headers=linked.bearer("viewer")).status_code in (403, 404)
    assert registry.post(address, json={**body, "path": "none"}, headers=bearer()).status_code == 404


def test_a_pass_opens_nothing_that_was_withdrawn(linked: World) -> None:
    registry, reader = linked.registry(), linked.reader()
    archive = linked.published()
    address = f"/api/v1/archives/{archive}/passes"
    made = registry.post(address, json={"thing": "aip"}, headers=bearer())
    linked.withdraw(archive, reason="personal-data")
    link = urlsplit(made.json["url"])
    assert reader.get(f"{link.path}?{link.query}").status_code == 410
    answer = registry.post(address, json={"thing": "aip"}, headers=bearer())
    assert (answer.status_code, answer.json["type"].rpartition(":")[2]) == (409, "withdrawn")


def test_no_pass_is_made_where_there_is_no_aip(linked: World) -> None:
    address = f"/api/v1/archives/{linked.archive()}/passes"
    answer = linked.registry().post(address, json={"thing": "zip"}, headers=bearer())
    assert (answer.status_code, answer.json["type"].rpartition(":")[2]) == (409, "no-aip")


@pytest.mark.parametrize("state", ["published", "in-review", "withdrawn"])
def test_embargo_and_restriction_are_brought_to_access_systems_of_others(world: World, state: str) -> None:
    registry, archive = world.registry(), world.published()
    RegistryPlacements(world.engine).note("library", archive, Placed("abc", state))
    decisions = {"embargo": {"until": TOMORROW}, "restriction": {"restricted": True}}
    asked = []
    for act, told in decisions.items():
        answer = registry.put(f"/api/v1/archives/{archive}/{act}", json=told, headers=bearer())
        assert answer.status_code == 200
        asked += answer.json["steps"]
    with world.engine.connect() as connection:
        rows = connection.execute(text("SELECT id, input FROM step WHERE name = 'publish'")).all()
    assert {str(row.id) for row in rows if row.input.get("where") == "published"} == set(asked)
    assert len(asked) == (0 if state == "withdrawn" else 2)


def test_an_embargo_is_set_and_lifted_and_remembered(world: World, reader: Client) -> None:
    registry, archive = world.registry(), world.published()
    address = f"/api/v1/archives/{archive}/embargo"
    assert registry.put(address, json={"until": TOMORROW}, headers=bearer()).status_code == 200
    assert reader.get(f"/archives/{archive}/aip").status_code == 403
    assert registry.put(address, json={"until": None}, headers=bearer()).status_code == 200
    assert reader.get(f"/archives/{archive}/aip").status_code == 200
    with world.engine.connect() as connection:
        kept = log.events_of(connection, archive_id=archive, limit=10)
    assert [each.event.details[0] for each in kept] == [f"Embargo until {TOMORROW}", "Embargo lifted"]


def test_a_withdrawal_is_asked_for_with_a_reason(world: World) -> None:
    registry, archive = world.registry(), world.published()
    address = f"/api/v1/archives/{archive}/withdrawal"
    answer = registry.post(address, json={"reason": "retracted", "note": "by its author"}, headers=bearer())
    assert answer.status_code == 202
    assert registry.post(address, json={"reason": "whim"}, headers=bearer()).status_code == 422
    with world.engine.connect() as connection:
        row = connection.execute(text("SELECT id, input FROM step WHERE name = 'withdraw'")).one()
    assert str(row.id) == answer.json["steps"][0]
    by = row.input.pop("by")
    assert row.input == {"reason": "retracted", "note": "by its author", "tell_source": False}
    assert by


def test_a_withdrawal_stands_from_its_request_on_until_it_is_published_after_it(world: World) -> None:
    registry, archive, places = world.registry(), world.published(), RegistryPlacements(world.engine)
    address = f"/api/v1/archives/{archive}"

    def standing() -> tuple[str | None, ...]:
        found = places.standing(archive)
        assert found is not None
        return found.withdrawn

    for told, withdrawn in (({"destination": "library"}, ("library",)), ({}, ("library", None))):
        asked = {"reason": "copyright", **told}
        assert registry.post(f"{address}/withdrawal", json=asked, headers=bearer()).status_code == 202
        assert standing() == withdrawn
    for again, withdrawn in ((False, ("library", None)), (True, ())):
        asked = {"after_withdrawal": again}
        assert registry.post(f"{address}/publication", json=asked, headers=bearer()).status_code == 202
        assert standing() == withdrawn
    with world.engine.connect() as connection:
        told = [stored.event.details[0] for stored in log.events_of(connection, archive_id=archive)]
    assert [detail for detail in told if detail.startswith("Withdrawal")] == [
        "Withdrawal decided, from library: copyright",
        "Withdrawal decided, from all access systems: copyright",
        "Withdrawal lifted",
    ]


def test_a_person_publishes_a_version_although_the_one_before_it_was_withdrawn(world: World) -> None:
    registry, archive = world.registry(), world.archive(state="blocked")
    world.aip(archive)
    world.step(archive, "publish", 3, "blocked", error_code="earlier-version-withdrawn")
    page = registry.get(f"/archives/{archive}", headers=bearer()).text
    assert 'name="although_earlier_withdrawn"' in page
    address, asked = f"/api/v1/archives/{archive}/publication", {"although_earlier_withdrawn": True}
    answer = registry.post(address, json=asked, headers=bearer())
    assert answer.status_code == 202
    with world.engine.connect() as connection:
        row = connection.execute(text("SELECT id, state FROM step WHERE name = 'publish' AND attempt = 2")).one()
        kept = log.events_of(connection, archive_id=archive)
        marked = connection.execute(text("SELECT metadata FROM archive")).scalar_one()
    assert (answer.json["steps"], row.state) == ([str(row.id)], "queued")
    assert marked == {"published_by_hand": True}
    assert [each.event.details for each in kept] == [("To be published although an earlier version was withdrawn",)]
    assert world.audited()[-1].detail["although_earlier_withdrawn"] is True


def test_a_pass_opens_nothing_from_the_moment_it_is_to_be_withdrawn(linked: World) -> None:
    registry, reader = linked.registry(), linked.reader()
    archive = linked.published()
    address = f"/api/v1/archives/{archive}"
    link = urlsplit(registry.post(f"{address}/passes", json={"thing": "aip"}, headers=bearer()).json["url"])
    assert reader.get(f"{link.path}?{link.query}").status_code == 200
    assert registry.post(f"{address}/withdrawal", json={"reason": "spam"}, headers=bearer()).status_code == 202
    assert reader.get(f"{link.path}?{link.query}").status_code == 410


def test_what_was_withdrawn_is_gone_with_its_reason(world: World, reader: Client) -> None:
    archive = world.published()
    world.withdraw(archive, reason="retracted", note="by its author")
    for door in METADATA + BYTES:
        assert reader.get(f"/archives/{archive}{door}").status_code == 410
    assert "retracted by its author" in reader.get(f"/archives/{archive}").text


def test_nobody_to_tell_is_said(world: World) -> None:
    answer = world.registry().post(
        f"/api/v1/archives/{world.published()}/notifications", json={"status": "P"}, headers=bearer()
    )
    assert answer.status_code == 409


def warc() -> bytes:
    """A web archive of two records, each a gzip member of its own."""
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>hello</p>"
    head = (
        b"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: https://site.example.org/<b>\r\n"
        b"WARC-Date: 2026-01-01T00:00:00Z\r\nContent-Type: application/http; msgtype=response\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    info = b"WARC/1.1\r\nWARC-Type: warcinfo\r\nContent-Length: 4\r\n\r\nabcd\r\n\r\n"
    return gzip.compress(info) + gzip.compress(head + body + b"\r\n\r\n")


@pytest.fixture
def shown(world: World) -> str:
    """A published Archive with a file of every kind that is shown."""
    archive = world.archive()
    content = {
        "data/objects/a.png": b"\x89PNG",
        "data/objects/b.txt": b"<script>alert(1)</script> \xff",
        "data/objects/c.pdf": b"%PDF-1.7",
        "data/objects/d.warc.gz": warc(),
        "data/objects/e.bin": b"\0",
    }
    world.aip(archive, content)
    world.publish(archive)
    return f"/archives/{archive}"


def test_files_are_shown_without_scripts_and_without_running_anything(reader: Client, shown: str) -> None:
    page = reader.get(shown).text
    for name in ("a.png", "b.txt", "c.pdf", "d.warc.gz"):
        assert f"{shown}/view/data/objects/{name}" in page
        answer = reader.get(f"{shown}/view/data/objects/{name}")
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert reader.get(f"{shown}/view/data/objects/e.bin").status_code == 404
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \ufffd" in reader.get(f"{shown}/view/data/objects/b.txt").text
    listed = reader.get(f"{shown}/view/data/objects/d.warc.gz").text
    assert "https://site.example.org/&lt;b&gt;" not in listed or "<b>" not in listed.split("<table", 1)[1]
    assert "200 OK" in listed
    pdf = reader.get(f"{shown}/files/data/objects/c.pdf?view=1")
    assert pdf.headers["Content-Disposition"].startswith("inline")
    assert "sandbox" not in pdf.headers["Content-Security-Policy"]


def test_forms_on_the_page_of_an_archive_decide_what_readers_may_have(world: World, reader: Client) -> None:
    registry = world.registry()
    sign_in(registry)
    archive = world.published()
    page = registry.get(f"/archives/{archive}", base_url=BASE)
    csrf = csrf_of(page)
    assert all(f'action="/archives/{archive}/{act}"' in page.text for act in ("embargo", "withdrawal", "publication"))

    def send(act: str, **fields: str) -> int:
        return registry.post(f"/archives/{archive}/{act}", base_url=BASE, data={"csrf": csrf, **fields}).status_code

    for act in ("embargo", "withdrawal", "publication"):
        assert send(act, csrf="another") == 403
    assert (send("embargo", until="soon"), send("embargo", until=TOMORROW)) == (422, 303)
    assert reader.get(f"/archives/{archive}/files.zip").status_code == 403
    assert f'value="{TOMORROW}"' in registry.get(f"/archives/{archive}", base_url=BASE).text
    assert send("embargo", until="") == 303
    assert reader.get(f"/archives/{archive}/files.zip").status_code == 200
    assert (send("withdrawal", reason="a whim"), send("withdrawal", reason="copyright", tell_source="yes")) == (
        422,
        303,
    )
    assert send("publication") == 303
    with world.engine.connect() as connection:
        asked = connection.execute(
            text("SELECT name, input FROM step WHERE archive_id = :archive ORDER BY position"), {"archive": archive}
        ).all()
    assert [step.name for step in asked] == ["withdraw", "publish"]
    assert (asked[0].input["reason"], asked[0].input["tell_source"]) == ("copyright", True)
    assert all(step.input["by"] for step in asked)


def test_readers_decide_nothing(world: World) -> None:
    registry = world.registry()
    archive = world.published()
    viewer = world.bearer("viewer")
    assert "Set the embargo" not in registry.get(f"/archives/{archive}", headers=viewer).text
    for act in ("embargo", "withdrawal", "publication"):
        assert registry.post(f"/archives/{archive}/{act}", headers=viewer).status_code == 403
    api = registry.post(f"/api/v1/archives/{archive}/publication", headers=viewer, json={})
    assert api.status_code == 403
    without = world.archive()
    refused = registry.post(f"/api/v1/archives/{without}/publication", headers=bearer(), json={})
    assert (refused.status_code, refused.json["type"]) == (409, "urn:perdura:problem:no-aip")
