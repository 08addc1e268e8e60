"""The database is lost: a backup is restored, or the registry is rebuilt from the objects alone, and work goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

RECORD = "/records/3kf7w-x2p61"
ABOUT = {
    "archive": "SELECT id, title, state, pipeline, restricted, origin FROM archive ORDER BY id",
    "resource": "SELECT archive.id, source, recid FROM archive JOIN resource ON resource.id = resource_id ORDER BY 1",
    "package": "SELECT id, archive_id, kind, bucket, key, container, size, accepted FROM package ORDER BY id",
    "aip": "SELECT id, checksums, index_key FROM package WHERE kind = 'AIP' ORDER BY id",
    "copy": "SELECT package_id, location, uri, size, checksums FROM copy ORDER BY 1, 2",
    "files": 'SELECT package_id, path, package_file.size, "offset", format_key FROM package_file JOIN package '
    "ON package.id = package_id WHERE kind = 'AIP' ORDER BY 1, 2",
    "submitted files": "SELECT package_id, path, package_file.size FROM package_file "
    "JOIN package ON package.id = package_id WHERE kind = 'SIP' AND accepted ORDER BY 1, 2",
    "steps": "SELECT archive_id, name, position, state FROM step ORDER BY 1, 3",
    "versions": "SELECT package_id, number FROM aip_version ORDER BY 1",
    "publication": "SELECT archive_id, destination, url FROM publication ORDER BY 1",
    "event": "SELECT * FROM premis_event ORDER BY event_id",
    "log": "SELECT * FROM premis_log ORDER BY sequence",
    "leaf": "SELECT * FROM premis_leaf ORDER BY leaf_index",
    "checkpoint": "SELECT size, root, note FROM premis_checkpoint ORDER BY size",
}

AUDITED = """
    SELECT count(*) FILTER (WHERE verified_at IS NULL) = 0 AND count(*) >= 3
    FROM copy JOIN package ON package.id = package_id WHERE location = 'object-store' AND kind = 'AIP'
"""
"""Whether every AIP in the store was read again: nothing is known of when it was last, after a rebuild."""


def everything(stack: Stack) -> dict[str, list[tuple[Any, ...]]]:
    with stack.database.connect() as connection:
        return {name: [tuple(row) for row in connection.execute(text(query))] for name, query in ABOUT.items()}


def sealed(stack: Stack) -> None:
    """Wait until a signed head covers every event."""
    covered = """SELECT NOT EXISTS (SELECT FROM premis_unsealed)
        AND (SELECT max(leaf_index) + 1 FROM premis_leaf) = (SELECT max(size) FROM premis_checkpoint)"""
    stack.until(lambda: stack.scalar(covered) or None, 90)


def said(stack: Stack, *command: str) -> str:
    done = stack.command(*command, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lose_the_database(stack: Stack) -> None:
    stack.database.dispose()
    stack.down()
    shutil.rmtree(stack.home / "data" / "postgres")
    assert not (stack.home / "data" / "postgres").exists()


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack({"PERDURA_VIRUS_SCAN": "off"}) as stack:
        yield stack


@pytest.fixture(scope="module")
def archives(stack: Stack) -> dict[str, str]:
    """One Archive of each kind, everything sealed."""
    harvested = stack.api.post("/harvests", json={"url": stack.urls["upstream"] + RECORD}).json()["archive"]
    deposited = stack.deposit(bag_tar({"a.txt": b"kept"}, bag_info={"Title": "Kept"}), title="A letter")
    rejected = stack.deposit(b"this is no bag at all", "rubbish.tar")
    withdrawn = stack.deposit(bag_tar({"a.txt": b"withdrawn"}))
    found = {"harvested": harvested, "deposited": deposited, "rejected": rejected, "withdrawn": withdrawn}
    for archive in found.values():
        stack.finished(archive)
    answer = stack.api.post(f"/archives/{withdrawn}/withdrawal", json={"reason": "copyright"})
    assert answer.is_success, answer.text
    stack.until(lambda: stack.scalar("SELECT count(*) = 1 FROM placement WHERE state = 'withdrawn'") or None, 60)
    return found


def test_the_registry_is_rebuilt_from_the_objects_alone(stack: Stack, archives: dict[str, str], tmp_path: Path) -> None:
    sealed(stack)
    before = everything(stack)
    lose_the_database(stack)
    said(stack, "up", "--detach", "--services-only")
    done = json.loads(said(stack, "registry", "rebuild", "--json"))
    assert (done["archives"], done["known"], done["findings"], done["asked"]) == (4, 0, [], 0), done
    assert done["closed"] == stack.scalar("SELECT count(*) FROM archive WHERE restricted") == 4
    assert done["log"]["leaves"] == len(before["leaf"])
    assert done["unknowable"]
    after = everything(stack)
    assert "4 Archives opened" in said(stack, "registry", "open", "--all")
    after["archive"] = everything(stack)["archive"]
    errands = [step for step in before["steps"] if step[2] >= 1000]
    before["steps"] = [step for step in before["steps"] if step not in errands]
    nameless = UUID(archives["rejected"])
    for rows in (before["archive"], after["archive"]):
        rows[:] = [(row[0], "", *row[2:]) if row[0] == nameless else row for row in rows]
    for name in before:
        assert after[name] == before[name], name
    assert "Sound" in said(stack, "log", "verify")
    again = json.loads(said(stack, "registry", "rebuild", "--json"))
    assert (again["archives"], again["known"], again["log"]["leaves"]) == (0, 4, 0)
    stack.down()
    stack.up()
    stack.__dict__.pop("urls", None)
    stack.until(lambda: stack.scalar("SELECT count(*) > 0 FROM heartbeat WHERE duty = 'sweep'") or None, 60)
    stack.until(lambda: stack.scalar(AUDITED) or None, 120)
    fetched = tmp_path / "aip.tar"
    said(stack, "fetch", archives["deposited"], "-o", str(fetched))
    said(stack, "aip", "verify", str(fetched))
    fresh = stack.deposit(bag_tar({"a.txt": b"after the disaster"}))
    assert stack.finished(fresh)["state"] == "completed", stack.steps(fresh)
    assert stack.scalar("SELECT count(*) FROM archive") == 5, "something of the drop zone was taken for new"
    twin = stack.deposit(bag_tar({"a.txt": b"kept"}, bag_info={"Title": "Kept"}))
    assert stack.finished(twin)["state"] == "rejected"
    sealed(stack)
    assert "Sound" in said(stack, "log", "verify")


def test_a_backup_is_restored_and_completed_with_what_came_after_it(
    stack: Stack, archives: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    sealed(stack)
    said(stack, "backup", str(folder))
    kept = everything(stack)
    later = stack.deposit(bag_tar({"a.txt": b"after the backup"}))
    stack.finished(later)
    sealed(stack)
    before = everything(stack)
    said(stack, "backup", str(folder / "second"))
    shutil.copytree(folder / "second", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("database.dump"))
    lose_the_database(stack)
    shutil.rmtree(stack.home / "data" / "seaweedfs")
    said(stack, "up", "--detach", "--services-only")
    assert "refused" not in said(stack, "restore", str(folder))
    assert {name: rows for name, rows in everything(stack).items() if name != "checkpoint"}.items() >= {
        "archive": kept["archive"], "copy": kept["copy"], "log": kept["log"]
    }.items()  # fmt: skip
    done = json.loads(said(stack, "registry", "rebuild", "--open", "--json"))
    assert done["archives"] == 1, done
    assert done["closed"] == 0, "a person said --open, and its AIP says nothing of a restriction"
    after = everything(stack)
    for name in ("archive", "package", "copy", "publication", "log", "leaf", "event", "checkpoint"):
        assert after[name] == before[name], name
    assert "Sound" in said(stack, "log", "verify")
    refused = stack.command("restore", str(folder))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    stack.down()
    stack.up()
    fetched = tmp_path / "aip.tar"
    said(stack, "fetch", later, "-o", str(fetched))
    said(stack, "aip", "verify", str(fetched))
