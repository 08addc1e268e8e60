"""`perdura versions make`: what is sent, and what is refused before anything is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Run
from tests.unit.commands.fake_registry import FakeRegistry

PATH = "/api/v1/archives/a1/versions"


@pytest.fixture(autouse=True)
def _ready(registry: FakeRegistry) -> None:
    registry.on(f"POST {PATH}/uploads", (201, {"upload": "u1", "url": f"{registry.url}/incoming/u1", "expires": ""}))
    registry.on(f"POST {PATH}", (202, {"archive": "a1", "links": {}}))
    registry.on("PUT /incoming/u1", (200, b""))


def test_files_and_metadata_are_sent(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "new.ods").write_bytes(b"new")
    (tmp_path / "metadata.json").write_text('{"subject": "tides"}')
    result = run(
        "versions", "make", "a1", "--reason", "format at risk", "--metadata", str(tmp_path / "metadata.json"),
        "--add", f"t.ods={tmp_path / 'new.ods'}", "--migrated", "t.ods=t.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert registry.sent("PUT", "/incoming/u1") == [b"new"]
    file = {"upload": "u1", "path": "t.ods", "size": 3, "sha256": hashlib.sha256(b"new").hexdigest()}
    assert json.loads(registry.sent("POST", PATH)[0]) == {
        "reason": "format at risk",
        "files": [{**file, "derived_from": "t.csv"}],
        "preserve": {},
        "metadata": {"subject": "tides"},
    }


@pytest.mark.parametrize("arguments", [("--migrated", "t.ods=t.csv"), ("--metadata", "list.json")])
def test_what_cannot_be_meant_is_refused_and_nothing_is_sent(
    run: Run, registry: FakeRegistry, arguments: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    assert run("versions", "make", "a1", "--reason", "x", *arguments).exit_code == 2
    assert registry.requests == []
