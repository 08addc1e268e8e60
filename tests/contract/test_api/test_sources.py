"""Sources over the API: what they can be asked, searching them, credentials that go in and never come out."""

from __future__ import annotations

import base64
import logging
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from werkzeug.test import Client

from perdura.registry.transitions import HARVEST_PIPELINE
from perdura.runtime.extras import credential_of
from perdura.settings import Settings
from tests.contract.test_api.world import BASE, TOKEN, World, bearer

KEY = base64.b64encode(b"k" * 32).decode()
SECRET = "ghp-top-secret-0123456789"


@pytest.fixture
def keyed(world: World) -> World:
    """An installation with a key for credentials."""
    return replace(world, settings=Settings(admin_token=TOKEN, base_url=BASE, credential_keys=KEY))


def ask(registry: Client, method: str, path: str, body: Any = None) -> tuple[int, str]:
    more = {"json": body} if body is not None else {}
    with registry.open(f"/api/v1{path}", method=method, headers=bearer(), **more) as answer:
        return answer.status_code, answer.get_data(as_text=True)


def test_a_credential_goes_in_is_used_and_never_comes_out(keyed: World, caplog: pytest.LogCaptureFixture) -> None:
    registry = keyed.registry()
    with caplog.at_level(logging.DEBUG):
        answers = [
            ask(registry, "PUT", "/credentials/gitlab", {"secret": SECRET}),
            ask(registry, "GET", "/credentials"),
            ask(registry, "GET", "/sources"),
        ]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert all(SECRET not in told for _, told in answers)
    assert SECRET not in caplog.text
    with keyed.engine.connect() as connection:
        for table in ("credential", "audit_entry", "outbox"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert SECRET not in repr(rows)
        owner = connection.execute(text("SELECT owner FROM credential")).scalar_one()
    assert credential_of(keyed.engine, keyed.settings, owner, "gitlab") == SECRET
    assert ask(registry, "DELETE", "/credentials/gitlab")[0] == 204
    assert ask(registry, "DELETE", "/credentials/gitlab")[0] == 404


@pytest.mark.parametrize(
    ("source", "secret", "status"),
    [
        ("nowhere", "x", 404),
        ("ilcagenda", "x", 422),
        ("gitlab", "", 422),
        ("gitlab", "a\r\nX-Evil: 1", 422),
        ("gitlab", "ü", 422),
        ("gitlab", "x" * 9000, 422),
    ],
)
def test_what_cannot_be_a_credential_is_refused_without_an_echo(
    keyed: World, source: str, secret: str, status: int
) -> None:
    found, told = ask(keyed.registry(), "PUT", f"/credentials/{source}", {"secret": secret})
    assert found == status
    assert "Evil" not in told


def test_old_keys_are_left_behind(keyed: World) -> None:
    ask(keyed.registry(), "PUT", "/credentials/gitlab", {"secret": SECRET})
    new = base64.b64encode(b"n" * 32).decode()
    both = replace(keyed, settings=Settings(admin_token=TOKEN, base_url=BASE, credential_keys=f"{new} {KEY}"))
    assert '"credentials":1' in ask(both.registry(), "POST", "/credentials/renewal", {})[1]
    alone = Settings(admin_token=TOKEN, base_url=BASE, credential_keys=new)
    with keyed.engine.connect() as connection:
        owner = connection.execute(text("SELECT owner FROM credential")).scalar_one()
    assert credential_of(keyed.engine, alone, owner, "gitlab") == SECRET


def test_an_installation_without_keys_says_that_it_keeps_no_credentials(registry: Client) -> None:
    for method, path, body in (
        ("PUT", "/credentials/gitlab", {"secret": SECRET}),
        ("POST", "/credentials/renewal", {}),
    ):
        status, text_of_it = ask(registry, method, path, body)
        assert (status, "no-credential-key" in text_of_it) == (409, True)


def test_every_source_says_what_it_can_be_asked(registry: Client) -> None:
    with registry.get("/api/v1/sources", headers=bearer()) as answer:
        found = {item["id"]: item for item in answer.get_json()["items"]}
    assert found["zenodo"]["listed_by"] == ["search", "oai-pmh"]
    assert found["cds"]["listed_by"] == ["oai-pmh"]
    assert found["gitlab"]["listed_by"] == []
    searchable = {name for name, item in found.items() if item["searchable"]}
    assert {
        "zenodo",
        "inveniordm",
        "cds-rdm",
        "cds",
        "ilcdoc",
        "cds-videos",
        "cod",
        "indico",
        "gitlab",
        "codimd",
    } <= searchable
    assert not {"doi", "signposting", "local", "prefix"} & searchable


@pytest.mark.parametrize("path", ["/sources/nowhere/search?q=x", "/sources/nowhere/search"])
def test_an_unknown_source_is_not_found(registry: Client, path: str) -> None:
    assert ask(registry, "GET", path)[0] == 404


def test_a_source_without_a_search_says_so(registry: Client) -> None:
    assert ask(registry, "GET", "/sources/local/search?q=x")[0] == 422


def _begun(world: World, archive: str) -> Any:
    with world.engine.connect() as connection:
        statement = "SELECT input, pipeline FROM step JOIN archive ON archive.id = archive_id WHERE archive_id = :id"
        return connection.execute(text(statement + " ORDER BY attempt DESC"), {"id": UUID(archive)}).first()


def test_how_a_harvest_is_to_be_done(world: World, registry: Client) -> None:
    body = {"url": "https://zenodo.org/records/1", "warc": True, "metadata_only": True, "engine": "bagit-create"}
    with registry.post("/api/v1/harvests", headers=bearer(), json=body) as answer:
        row = _begun(world, answer.get_json()["archive"])
    assert {name: row.input[name] for name in body} == body
    assert row.input["requested_by"]
    assert row.pipeline == list(HARVEST_PIPELINE)


def test_a_light_harvest_ends_with_its_package_and_is_completed_later(world: World, registry: Client) -> None:
    body = {"url": "https://zenodo.org/records/1"}
    with registry.post("/api/v1/harvests?light=true", headers=bearer(), json=body) as answer:
        archive = answer.get_json()["archive"]
    row = _begun(world, archive)
    assert (row.input["light"], row.pipeline) == (True, ["harvest"])
    assert ask(registry, "POST", f"/archives/{archive}/completion", {})[0] == 409
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE step SET state = 'completed_with_warnings'"))
    assert ask(registry, "POST", f"/archives/{archive}/completion", {})[0] == 202
    row = _begun(world, archive)
    assert "light" not in row.input
    assert row.pipeline == list(HARVEST_PIPELINE)
    assert ask(registry, "POST", f"/archives/{archive}/completion", {})[0] == 409


def test_a_light_harvest_is_completed_by_who_asked_for_it_or_may_operate(world: World, registry: Client) -> None:
    mine, other = world.bearer("depositor"), world.bearer("depositor")
    for completing, status in (
        (other, 403),
        (world.bearer("viewer"), 403),
        (mine, 202),
        (world.bearer("archivist"), 202),
    ):
        body = {"url": "https://zenodo.org/records/1"}
        archive = registry.post("/api/v1/harvests?light=true", headers=mine, json=body).get_json()["archive"]
        with world.engine.begin() as connection:
            connection.execute(text("UPDATE step SET state = 'completed_with_warnings'"))
        done = registry.post(f"/api/v1/archives/{archive}/completion", headers=completing)
        assert done.status_code == status
        assert ("light" in _begun(world, archive).input) is (status == 403)
