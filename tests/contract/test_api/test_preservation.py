"""How Archives are preserved, over the API: wishes, versions, Archivematicas."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text
from werkzeug.test import Client

from perdura.ids import new_id
from perdura.registry import preservation
from perdura.registry.access_tables import Placement
from perdura.registry.preservation_tables import AipVersion, ArchivematicaInstance
from perdura.registry.tables import Archive
from tests.contract.test_api.world import PIPELINE, World, bearer


def _ask(client: Client, method: str, path: str, body: Any = None) -> Any:
    return client.open(f"/api/v1{path}", method=method, json=body, headers=bearer())


def _preserved(world: World) -> tuple[Any, Any]:
    archive = world.archive(state="completed", pipeline=PIPELINE)
    for position, name in enumerate(PIPELINE):
        world.step(archive, name, position, "completed")
    package = world.aip(archive)
    with world.engine.begin() as connection:
        connection.execute(insert(AipVersion).values(package_id=package, archive_id=archive, number=1))
    return archive, package


def test_a_depositor_says_how_the_aip_is_to_be_made(world: World, registry: Client) -> None:
    wanted = {"engine": "builtin", "profile": "eark"}
    answer = _ask(registry, "POST", "/deposits", {"filename": "a.zip", "size": 10, "preserve": wanted})
    assert answer.status_code == 201
    with world.engine.connect() as connection:
        assert preservation.wish(connection, answer.get_json()["archive"]) == wanted
    refused = _ask(registry, "POST", "/deposits", {"filename": "a.zip", "size": 10, "preserve": {"profile": "other"}})
    assert refused.status_code in {400, 422}


def test_a_wish_can_be_changed_later(world: World, registry: Client) -> None:
    archive = world.archive()
    assert _ask(registry, "PUT", f"/archives/{archive}/preservation", {"profile": "eark"}).status_code == 200
    answer = _ask(registry, "PUT", f"/archives/{archive}/preservation", {"engine": "archivematica"})
    assert answer.get_json()["profile"] == "eark"


@pytest.mark.parametrize("named", ["embargo_until", "embargo_by_hand", "restricted_by_hand", "published_by_hand"])
def test_who_may_see_an_archive_is_not_told_with_the_metadata_of_a_version(
    world: World, registry: Client, named: str
) -> None:
    archive, _ = _preserved(world)
    before = _metadata(world, archive)
    body = {"reason": "x", "metadata": {"keywords": ["a"], named: "2030-01-01"}}
    answer = _ask(registry, "POST", f"/archives/{archive}/versions", body)
    assert answer.status_code == 422
    assert answer.get_json()["type"].endswith("not-by-metadata"), answer.get_json()
    assert named in answer.get_json()["detail"]
    assert _metadata(world, archive) == before


def test_the_metadata_of_a_version_leaves_an_embargo_as_it_is(world: World, registry: Client) -> None:
    archive, _ = _preserved(world)
    assert _ask(registry, "PUT", f"/archives/{archive}/embargo", {"until": "2099-12-31"}).status_code == 200
    body = {"reason": "x", "metadata": {"keywords": ["a"]}}
    assert _ask(registry, "POST", f"/archives/{archive}/versions", body).status_code == 202
    assert _metadata(world, archive) == {"keywords": ["a"], "embargo_until": "2099-12-31", "embargo_by_hand": True}


def _metadata(world: World, archive: UUID) -> Any:
    with world.engine.connect() as connection:
        return connection.execute(select(Archive.metadata_).where(Archive.id == archive)).scalar_one()


def test_a_version_with_an_added_file_is_asked_for(world: World, registry: Client) -> None:
    archive, package = _preserved(world)
    target = _ask(registry, "POST", f"/archives/{archive}/versions/uploads", {"size": 3}).get_json()
    file = {"upload": target["upload"], "path": "new.txt", "size": 3, "sha256": hashlib.sha256(b"new").hexdigest()}
    body = {"reason": "it came late", "files": [file], "preserve": {"profile": "eark"}}
    assert _ask(registry, "POST", f"/archives/{archive}/versions", body).status_code == 409
    bucket = "perdura-sips"
    world.store.put(bucket, f"{archive}/additions/{target['upload']}", b"new")
    answer = _ask(registry, "POST", f"/archives/{archive}/versions", body)
    assert answer.status_code == 202, answer.get_json()
    with world.engine.connect() as connection:
        step = connection.execute(
            text("SELECT name, input FROM step WHERE archive_id = :a AND position = 4"), {"a": archive}
        ).one()
    assert step.name == "preserve"
    assert step.input["reason"] == "it came late"
    assert step.input["profile"] == "eark"
    assert [each["path"] for each in step.input["additions"]] == ["new.txt"]
    assert _ask(registry, "POST", f"/archives/{archive}/versions", body).status_code == 409
    (version,) = _ask(registry, "GET", f"/archives/{archive}/versions").get_json()["items"]
    assert (version["package"], version["number"], version["chosen"]) == (str(package), 1, True)


def test_paths_that_leave_the_package_are_refused(world: World, registry: Client) -> None:
    archive, _ = _preserved(world)
    for path in ("../a", "/a", "a//b", "a/./b", "ü" * 128):
        file = {"upload": str(new_id()), "path": path, "size": 1, "sha256": "0" * 64}
        answer = _ask(registry, "POST", f"/archives/{archive}/versions", {"reason": "x", "files": [file]})
        assert answer.status_code in {400, 422}, path


def test_a_file_that_is_given_twice_is_refused(world: World, registry: Client) -> None:
    archive, _ = _preserved(world)
    file = {"upload": str(new_id()), "path": "a.txt", "size": 1, "sha256": "0" * 64}
    answer = _ask(registry, "POST", f"/archives/{archive}/versions", {"reason": "x", "files": [file, file]})
    assert answer.status_code in {400, 422}
    assert "a.txt" in answer.get_data(as_text=True)


def test_versions_are_compared_and_unknown_ones_are_not_there(world: World, registry: Client) -> None:
    archive, package = _preserved(world)
    same = _ask(registry, "GET", f"/archives/{archive}/versions/{package}/diff?to={package}")
    assert (same.status_code, same.get_json()["items"]) == (200, [])
    assert _ask(registry, "POST", f"/archives/{archive}/versions/{new_id()}/choose").status_code == 404
    assert _ask(registry, "POST", f"/archives/{archive}/versions/{package}/choose").status_code == 200


def test_a_version_that_is_chosen_is_published_where_the_archive_is(world: World, registry: Client) -> None:
    steps = text("SELECT input FROM step WHERE archive_id = :a AND name = 'publish' ORDER BY position")
    for placed in (False, True):
        archive, package = _preserved(world)
        with world.engine.begin() as connection:
            if placed:
                values = {"destination": "library", "archive_id": archive, "record_id": "1", "state": "published"}
                connection.execute(insert(Placement).values(**values))
        answer = _ask(registry, "POST", f"/archives/{archive}/versions/{package}/choose")
        assert answer.status_code == 200
        with world.engine.connect() as connection:
            asked = connection.execute(steps, {"a": archive}).scalars().all()
        assert [list(each) for each in asked[1:]] == [["by"]] * placed


def test_archivematicas_are_listed_and_steered(world: World, registry: Client) -> None:
    with world.engine.begin() as connection:
        connection.execute(insert(ArchivematicaInstance).values(name="am-one", version="1.17.0"))
    (found,) = _ask(registry, "GET", "/archivematicas").get_json()["items"]
    assert (found["name"], found["mode"], found["reachable"], found["packages"]) == ("am-one", "active", True, 0)
    changed = _ask(registry, "PUT", "/archivematicas/am-one", {"mode": "draining", "reason": "update"}).get_json()
    assert (changed["mode"], changed["reason"]) == ("draining", "update")
    assert _ask(registry, "PUT", "/archivematicas/none", {"mode": "paused"}).status_code == 404
