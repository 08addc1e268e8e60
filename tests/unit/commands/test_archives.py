from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from perdura.cli import main
from tests.unit.commands.conftest import Run
from tests.unit.commands.fake_registry import FakeRegistry, archive, step

AIP = b"tar" * 1000


def package(**more: Any) -> dict[str, Any]:
    checksums = {"sha256": hashlib.sha256(AIP).hexdigest(), "sha512": hashlib.sha512(AIP).hexdigest()}
    links = {"content": "/api/v1/archives/a1/packages/p1/content"}
    shown = {"id": "p1", "kind": "AIP", "bucket": "aips", "key": "a1/a1.tar", "size": len(AIP)}
    return {**shown, "checksums": checksums, "links": links, **more}


def test_a_harvest_is_watched(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/harvests", (202, {"archive": "a1"}))
    error = {"code": "upstream-not-found", "message": "nothing there"}
    registry.on("GET /api/v1/archives/a1", (200, archive("failed")))
    registry.on("GET /api/v1/archives/a1/steps", (200, {"items": [step("harvest", "failed", error=error)]}))
    result = run("harvest", "https://zenodo.org/records/1", "--watch")
    assert result.exit_code == 1
    assert "harvest: nothing there [upstream-not-found]" in result.output
    assert json.loads(registry.sent("POST", "/api/v1/harvests")[0]) == {"url": "https://zenodo.org/records/1"}


def test_lists_are_followed_to_their_limit(run: Run, registry: FakeRegistry) -> None:
    items = [{"id": f"a{n}", "state": "completed", "created": "2026-11-24T10:00:00Z", "title": "T"} for n in range(4)]
    first, second = {"items": items[:2], "next": "c"}, {"items": items[2:], "next": "d"}
    registry.on("GET /api/v1/archives", (200, first), (200, second))
    result = run("archives", "list", "--limit", "3", "--json")
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["a0", "a1", "a2"]
    assert "cursor=c" in registry.requests[1][1]


def test_archives_alone_lists(run: Run, registry: FakeRegistry) -> None:
    registry.on("GET /api/v1/archives", (200, {"items": [], "next": None}))
    assert run("archives").exit_code == 0


def test_an_archive_is_shown_with_its_packages(run: Run, registry: FakeRegistry) -> None:
    registry.on("GET /api/v1/archives/a1", (200, archive("completed", packages=[package()])))
    registry.on("GET /api/v1/archives/a1/steps", (200, {"items": [step("ingest", "completed")]}))
    assert "aips/a1/a1.tar  3000 bytes" in run("archives", "show", "a1").stdout
    shown = json.loads(run("archives", "show", "a1", "--json").stdout)
    assert shown["steps"][0]["name"] == "ingest"


def test_events_are_lines(run: Run, registry: FakeRegistry) -> None:
    event = {"type": "fixity check", "at": "2026-11-24T10:00:00Z", "outcomes": [{"outcome": "success"}]}
    registry.on("GET /api/v1/archives/a1/events", (200, {"items": [{**event, "details": ["ok"]}], "next": None}))
    assert run("events", "a1").stdout.split() == ["2026-11-24T10:00:00", "fixity", "check", "success", "ok"]


def test_a_retry_that_is_not_possible_says_why(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/archives/a1/retry", (409, {"title": "Conflict", "detail": "nothing failed"}))
    result = run("retry", "a1")
    assert (result.exit_code, "Conflict (409): nothing failed" in result.output) == (1, True)


def test_an_aip_is_fetched_and_checked(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.on("GET /api/v1/archives/a1", (200, archive("completed", packages=[package()])))
    registry.on("GET /api/v1/archives/a1/packages/p1/content", (200, AIP))
    result = run("fetch", "a1", "-o", str(tmp_path / "a1.tar"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a1.tar").read_bytes() == AIP
    assert "sha256, sha512 as registered" in result.stdout


@pytest.mark.parametrize("wrong", [AIP[:-1], b"x" + AIP[1:]])
def test_what_is_not_the_aip_gets_no_name(run: Run, registry: FakeRegistry, tmp_path: Path, wrong: bytes) -> None:
    registry.on("GET /api/v1/archives/a1", (200, archive("completed", packages=[package()])))
    registry.on("GET /api/v1/archives/a1/packages/p1/content", (200, wrong))
    result = run("fetch", "a1", "-o", str(tmp_path / "a1.tar"))
    assert result.exit_code == 1
    assert "what arrived is not the package" in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_archive_without_aip_cannot_be_fetched(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.on("GET /api/v1/archives/a1", (200, archive("rejected", packages=[package(kind="SIP")])))
    result = run("fetch", "a1", "-o", str(tmp_path / "a1.tar"))
    assert (result.exit_code, "has no AIP (it is rejected)" in result.output) == (1, True)


def test_a_folder_that_cannot_be_written_is_said(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.on("GET /api/v1/archives/a1", (200, archive("completed", packages=[package()])))
    registry.on("GET /api/v1/archives/a1/packages/p1/content", (200, AIP))
    assert run("fetch", "a1", "-o", str(tmp_path / "nowhere" / "a1.tar")).exit_code == 2


def test_a_registry_that_is_down_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["archives", "list", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert "http://127.0.0.1:9 does not answer" in result.output


def test_something_else_than_a_registry_is_said(run: Run, registry: FakeRegistry) -> None:
    registry.on("GET /api/v1/archives", (200, b"<html>"))
    result = run("archives", "list")
    assert (result.exit_code, "is it a registry?" in result.output) == (2, True)


def test_without_a_stack_the_way_to_one_is_shown(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "none"), "archives", "list"])
    assert (result.exit_code, "perdura up" in result.output) == (2, True)
    (tmp_path / "home").mkdir()
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "home"), "archives", "list"])
    assert (result.exit_code, "does not run" in result.output) == (2, True)


def test_copies_are_checked_and_the_exit_status_tells(run: Run, registry: FakeRegistry) -> None:
    items = [
        {"step": "s1", "package": "p", "location": "object-store"}, {"step": "s2", "package": "p", "location": "tape"},
    ]  # fmt: skip
    registry.on("POST /api/v1/archives/a1/checks", (202, {"items": items}), (202, {"items": items}))
    steps = [
        {"id": "s1", "state": "completed", "error": None},
        {"id": "s2", "state": "failed", "error": {"code": "fixity-mismatch", "message": "other bytes"}},
    ]
    registry.on("GET /api/v1/archives/a1/steps", (200, {"items": steps}))
    assert "step s2: copy of p at tape" in run("check", "a1", "--copy", "tape", "--package", "p").stdout
    [sent] = [json.loads(body) for body in registry.sent("POST", "/api/v1/archives/a1/checks")]
    assert sent == {"package": "p", "copies": ["tape"]}
    watched = run("check", "a1", "--watch")
    assert watched.exit_code == 1
    assert "object-store: completed" in watched.stdout
    assert "tape: failed: other bytes" in watched.stdout


def test_a_recall_or_check_is_stopped_by_its_step(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/archives/a1/steps/s1/cancel", (202, {}))
    registry.on("POST /api/v1/archives/a1/cancel", (202, {}))
    assert run("archives", "cancel", "a1", "--step", "s1").stdout == "step s1\n"
    assert run("archives", "cancel", "a1").stdout == "archive a1\n"


def test_a_version_is_recalled_by_its_id(run: Run, registry: FakeRegistry) -> None:
    registry.on("POST /api/v1/archives/a1/recalls", (202, {"archive": "a1", "step": "s1"}), (202, {"step": "s2"}))
    assert run("recall", "a1", "--package", "p0").stdout == "step s1\n"
    run("recall", "a1", "--drill")
    sent = [json.loads(body) for body in registry.sent("POST", "/api/v1/archives/a1/recalls")]
    assert sent == [{"package": "p0", "drill": False}, {"drill": True}]
