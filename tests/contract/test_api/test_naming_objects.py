"""Nobody gets at the uploads of others by naming their objects: harvested, announced or taken over."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from werkzeug.test import Client

from perdura.accounts.principals import Permission
from perdura.errors import PerduraError, Rejected
from perdura.outcome import ArchiveView, Outcome, StepState, StepView
from perdura.registry import migrate
from perdura.runtime import jobs as running
from perdura.runtime.extras import harvesting
from perdura.steps import harvest
from tests.contract.test_api.world import World, bearer
from tests.unit.harvest.surroundings import ARCHIVE, STEP, Harvesting

DROP_ZONE = "perdura-incoming"


def _harvest(world: World, url: str, account: UUID | None, **more: Any) -> Outcome:
    """Do what `functions/harvest` does, in the store and with the registry of the world."""
    given = {"url": url, **({"requested_by": str(account)} if account else {}), **more}
    view = ArchiveView(ARCHIVE, StepView(STEP, "harvest", 1, given, {}))
    extras = dict(harvesting(world, view))  # type: ignore[arg-type]
    return harvest.run(view, Harvesting(store=world.store, settings=world.settings, extras=extras).ports())


def _announce(world: World, registry: Client, account: UUID, *keys: str) -> list[dict[str, Any]]:
    header = bearer(world.token(account))
    body = {"bucket": DROP_ZONE, "packages": [{"key": key} for key in keys]}
    made = registry.post("/api/v1/announcements", json=body, headers=header)
    assert made.status_code == 202, made.text
    running.tick(world)  # type: ignore[arg-type]
    items: list[dict[str, Any]] = registry.get(made.get_json()["links"]["items"], headers=header).get_json()["items"]
    return items


@pytest.fixture
def upload(world: World, registry: Client) -> str:
    """The key of somebody's deposit, whose bytes have arrived."""
    sent = {"filename": "secret.zip", "size": 6}
    made = registry.post("/api/v1/deposits", json=sent, headers=world.bearer("depositor")).get_json()
    world.store.put(DROP_ZONE, f"deposits/{made['id']}", b"secret")
    return f"deposits/{made['id']}"


@pytest.mark.parametrize(
    "path",
    [
        *("deposits", "deposits/", "/deposits", "%64eposits", "deposits%2F", "DEPOSITS", "x/../deposits"),
        *("x/%2e%2e/deposits", ".", "%2F", "%2Fdeposits", "deposits?x", "deposits#x", "./deposits", "deposits%00"),
    ],
)
def test_uploads_of_others_are_harvested_by_nobody(world: World, upload: str, path: str) -> None:
    for role in ("depositor", "administrator"):
        with pytest.raises(Rejected):
            _harvest(world, f"s3://{DROP_ZONE}/{path}", world.account(role))
    with pytest.raises(Rejected):
        _harvest(world, f"s3://{DROP_ZONE}/{upload}", world.account("depositor"))


def test_uploads_of_others_are_announced_by_nobody(world: World, registry: Client, upload: str) -> None:
    for named in ({"packages": [{"key": "a.zip"}, {"key": upload}]}, {"prefix": "deposits"}):
        header = world.bearer("depositor")
        refused = registry.post("/api/v1/announcements", json={"bucket": DROP_ZONE, **named}, headers=header)
        assert refused.status_code == 403
        assert world.audited()[-1].outcome == "denied"
        field = "body.packages.1.key" if "packages" in named else "body.prefix"
        assert [error["field"] for error in refused.get_json()["errors"]] == [field]
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM job")).scalar() == 0


def test_uploads_of_others_are_not_taken_over_and_who_names_them_is_recorded(
    world: World, registry: Client, upload: str
) -> None:
    world.store.put(DROP_ZONE, "a.zip", b"PK")
    for wrong, told in (
        ("path_to_sip", {"path_to_sip": upload}), ("path_to_aip", {"path_to_sip": "a.zip", "path_to_aip": upload}),
    ):  # fmt: skip
        archives = [{"id": 1, "source": "cds", "recid": "1"}, {"id": 2, "source": "cds", "recid": "2", **told}]
        body = {"origin": "https://oais.test", "bucket": DROP_ZONE, "archives": archives}
        refused = registry.post("/api/v1/imports/oais", json=body, headers=bearer())
        assert refused.status_code == 403
        assert [error["field"] for error in refused.get_json()["errors"]] == [f"body.archives.1.{wrong}"]
        assert (world.audited()[-1].action, world.audited()[-1].outcome) == ("import_oais", "denied")
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM job")).scalar() == 0


@pytest.mark.parametrize("shut", ["restricted", "embargo"])
def test_what_became_an_archive_of_others_is_harvested_by_who_may_have_its_files(
    world: World, registry: Client, shut: str
) -> None:
    theirs, other = world.account("depositor"), world.account("depositor")
    world.store.put(DROP_ZONE, "set/a.zip", b"PK")
    world.store.put(DROP_ZONE, "set/b.txt", b"b")
    (item,) = _announce(world, registry, theirs, "set/a.zip")
    assert _harvest(world, f"s3://{DROP_ZONE}/set/", other).state is StepState.COMPLETED
    change = "restricted = true" if shut == "restricted" else 'metadata = \'{"embargo_until": "2999-01-01"}\''
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE archive SET {change} WHERE id = :id"), {"id": item["archive"]})
    _forget(world)
    for asking in (other, None):
        with pytest.raises(PerduraError) as refused:
            _harvest(world, f"s3://{DROP_ZONE}/set/", asking)
        assert refused.value.code == "upstream-not-found"
    for asking in (theirs, world.account("archivist")):
        _forget(world)
        assert _harvest(world, f"s3://{DROP_ZONE}/set/", asking).state is StepState.COMPLETED


def test_a_token_that_does_not_see_restricted_archives_does_not_get_their_files_in_the_background(
    world: World, registry: Client
) -> None:
    theirs, archivist = world.account("depositor"), world.account("archivist")
    world.store.put(DROP_ZONE, "set/a.zip", b"PK")
    (item,) = _announce(world, registry, theirs, "set/a.zip")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": item["archive"]})
    narrow = bearer(world.token(archivist, [Permission.READ, Permission.DEPOSIT]))
    body = {"url": f"s3://{DROP_ZONE}/set/"}
    made = registry.post("/api/v1/harvests", json=body, headers=narrow).get_json()["archive"]
    with world.engine.connect() as connection:
        given = connection.execute(text("SELECT input FROM step WHERE archive_id = :id"), {"id": made}).scalar_one()
    assert given["scopes"] == ["deposit", "read"]
    with pytest.raises(PerduraError):
        _harvest(world, body["url"], archivist, scopes=given["scopes"])
    announced = {"bucket": DROP_ZONE, "packages": [{"key": "set/a.zip"}]}
    job = registry.post("/api/v1/announcements", json=announced, headers=narrow).get_json()
    running.tick(world)  # type: ignore[arg-type]
    (item,) = registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]
    assert (item["state"], item["code"]) == ("failed", "not-stored")


def test_announcing_what_is_an_archive_already_changes_nothing_of_it(world: World, registry: Client) -> None:
    theirs, other = world.account("depositor"), world.account("depositor")
    world.store.put(DROP_ZONE, "set/a.zip", b"PK")
    (item,) = _announce(world, registry, theirs, "set/a.zip")
    collection = world.collection()
    packages = [{"key": "set/a.zip", "sha256": "0" * 64}]
    body = {"bucket": DROP_ZONE, "packages": packages, "collection": str(collection)}
    job = registry.post("/api/v1/announcements", json=body, headers=bearer(world.token(other))).get_json()
    running.tick(world)  # type: ignore[arg-type]
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT input ->> 'expected_sha256' FROM step")).scalar() is None
    (again,) = registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]
    assert (again["state"], again["code"]) == ("failed", "digest-not-compared")
    (mine,) = _announce(world, registry, other, "set/a.zip")
    assert mine["archive"] == item["archive"]
    with world.engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM collection_member")).scalar() == 0


def test_what_was_harvested_below_a_prefix_stays_with_who_may_have_its_files(world: World, registry: Client) -> None:
    theirs, other = world.account("depositor"), world.account("depositor")
    world.store.put(DROP_ZONE, "set é/a.zip", b"PK")
    harvested = world.archive(
        restricted=True, resource_id=world.resource("prefix", "1"), metadata_={"url": f"s3://{DROP_ZONE}/set%20%C3%A9/"}
    )
    world.grant(account_id=theirs, archive_id=harvested)
    with pytest.raises(PerduraError):
        _harvest(world, f"s3://{DROP_ZONE}/set é", other)
    hidden, gone = _announce(world, registry, other, "set é/a.zip", "set é/gone.zip")
    told = [{name: item[name] for name in ("state", "code", "message", "archive")} for item in (hidden, gone)]
    assert told[0] == told[1]
    assert _harvest(world, f"s3://{DROP_ZONE}/set é", theirs).state is StepState.COMPLETED


@pytest.mark.parametrize("shut", ["restricted", "embargo"])
def test_what_an_import_took_over_is_announced_anew_by_who_may_have_its_files(
    engine: Engine, world: World, registry: Client, shut: str
) -> None:
    theirs, other = world.account("depositor"), world.account("depositor")
    for key in ("oais/a.zip", "oais/b/bag/b.zip", "oais/aips/c.zip", "oais/d.zip"):
        world.store.put(DROP_ZONE, key, b"PK")
    told = [("oais/a.zip", None), ("oais/b", None), ("oais/d.zip", "oais/aips/c.zip")]
    archives = [
        {"id": number, "source": "cds", "recid": str(number), "path_to_sip": sip, "path_to_aip": aip}
        for number, (sip, aip) in enumerate(told)
    ]
    body = {"origin": "https://oais.test", "bucket": DROP_ZONE, "archives": archives}
    job = registry.post("/api/v1/imports/oais", json=body, headers=bearer()).get_json()
    running.tick(world)  # type: ignore[arg-type]
    taken = [item["archive"] for item in registry.get(job["links"]["items"], headers=bearer()).get_json()["items"]]
    with engine.begin() as connection:
        noted = "DELETE FROM taken_over RETURNING bucket, key, archive_id, etag"
        before = set(connection.execute(text(noted)))
        connection.exec_driver_sql(_migration("taken_over").NOTED)
        assert set(connection.execute(text("SELECT bucket, key, archive_id, etag FROM taken_over"))) == before
    change = "restricted = true" if shut == "restricted" else 'metadata = \'{"embargo_until": "2999-01-01"}\''
    with world.engine.begin() as connection:
        connection.execute(text(f"UPDATE archive SET {change}"))
    for archive in taken:
        world.grant(account_id=theirs, archive_id=UUID(archive))
    named = ("oais/a.zip", "oais/b/bag/b.zip", "oais/aips/c.zip", "oais/gone.zip")
    states = {item["subject"]: (item["code"], item["message"]) for item in _announce(world, registry, other, *named)}
    assert len(set(states.values())) == 1
    with pytest.raises(PerduraError):
        _harvest(world, f"s3://{DROP_ZONE}/oais/", other)
    world.store.put(DROP_ZONE, "oais/a.zip", b"another package, put there later")
    (item,) = _announce(world, registry, other, "oais/a.zip")
    assert item["state"] == "done"
    assert [item["state"] for item in _announce(world, registry, theirs, *named[1:])] == ["done", "done", "failed"]


def test_what_is_hidden_is_not_below_a_prefix_that_is_announced(world: World, registry: Client) -> None:
    theirs, other = world.account("depositor"), world.account("depositor")
    for name in ("hidden", "mine", "shown"):
        world.store.put(DROP_ZONE, f"set/{name}.zip", name.encode())
    hidden, shown = _announce(world, registry, theirs, "set/hidden.zip", "set/shown.zip")
    with world.engine.begin() as connection:
        connection.execute(text("UPDATE archive SET restricted = true WHERE id = :id"), {"id": hidden["archive"]})
        embargo = 'UPDATE archive SET metadata = \'{"embargo_until": "2999-01-01"}\' WHERE id = :id'
        connection.execute(text(embargo), {"id": shown["archive"]})

    def announced(account: UUID, prefix: str = "set") -> dict[str, str]:
        body, header = {"bucket": DROP_ZONE, "prefix": prefix}, bearer(world.token(account))
        job = registry.post("/api/v1/announcements", json=body, headers=header).get_json()
        running.tick(world)  # type: ignore[arg-type]
        items = registry.get(job["links"]["items"], headers=header).get_json()["items"]
        assert job["total"] == len(items)
        return {item["subject"]: item["state"] for item in items}

    assert announced(other) == {"set/mine.zip": "done", "set/shown.zip": "done"}
    assert set(announced(theirs)) == {"set/hidden.zip", "set/mine.zip", "set/shown.zip"}
    assert set(announced(world.account("archivist"))) == {"set/hidden.zip", "set/mine.zip", "set/shown.zip"}


def _migration(name: str) -> Any:
    (found,) = Path(migrate.__file__).parent.glob(f"migrations/versions/*_{name}.py")
    return import_module(f"perdura.registry.migrations.versions.{found.stem}")


def _forget(world: World) -> None:
    """Let the next harvest plan anew, as one of another Archive would."""
    for info in list(world.store.list(world.settings.bucket_sips, f"{ARCHIVE}/")):
        world.store.delete(info.ref)
