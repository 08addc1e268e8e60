from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.unit.commands.conftest import Run
from tests.unit.commands.fake_registry import FakeRegistry, archive, step


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "bag.zip"
    path.write_bytes(b"PK" * 700_000)
    return path


@pytest.fixture(autouse=True)
def _ready(registry: FakeRegistry) -> None:
    upload = {"method": "PUT", "url": f"{registry.url}/incoming/d1", "headers": {"x-amz-meta-deposit": "d1"}}
    registry.on("POST /api/v1/deposits", (201, {"id": "d1", "archive": "a1", "upload": upload}))
    registry.on("POST /api/v1/deposits/d1/complete", (202, {"archive": "a1"}))
    registry.on("PUT /incoming/d1", (200, b""))


def test_a_file_is_announced_sent_and_completed(run: Run, registry: FakeRegistry, package: Path) -> None:
    result = run("deposit", str(package), "--title", "Tides")
    content = package.read_bytes()
    assert result.exit_code == 0, result.output
    assert result.stdout == "archive a1\n"
    announced = json.loads(registry.sent("POST", "/api/v1/deposits")[0])
    sha256 = hashlib.sha256(content).hexdigest()
    assert announced == {"filename": "bag.zip", "size": len(content), "sha256": sha256, "title": "Tides"}
    assert registry.sent("PUT", "/incoming/d1") == [content]
    assert len(registry.sent("POST", "/api/v1/deposits/d1/complete")) == 1


def test_the_token_goes_to_the_registry_only(run: Run, registry: FakeRegistry, package: Path) -> None:
    run("deposit", str(package))
    for method, _, headers, _ in registry.requests:
        assert headers.get("Authorization") == (None if method == "PUT" else "Bearer secret")
        assert method != "PUT" or headers["x-amz-meta-deposit"] == "d1"


def test_an_upload_the_store_could_not_take_is_sent_again(run: Run, registry: FakeRegistry, package: Path) -> None:
    registry.on("PUT /incoming/d1", (503, b"busy"), (200, b""))
    assert run("deposit", str(package)).exit_code == 0
    assert registry.sent("PUT", "/incoming/d1") == [package.read_bytes()] * 2


def test_an_upload_the_store_refuses_is_not_completed(run: Run, registry: FakeRegistry, package: Path) -> None:
    registry.on("PUT /incoming/d1", (403, b"<Error>expired</Error>"))
    result = run("deposit", str(package))
    assert result.exit_code == 1
    assert "The object store refused the upload (403)" in result.output
    assert registry.sent("POST", "/api/v1/deposits/d1/complete") == []


def test_a_bag_in_a_folder_is_sent_as_tar(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    bag = tmp_path / "tides"
    (bag / "data").mkdir(parents=True)
    (bag / "bagit.txt").write_text("BagIt-Version: 1.0\n")
    (bag / "data" / "one").write_text("1")
    assert run("deposit", str(bag)).exit_code == 0
    announced = json.loads(registry.sent("POST", "/api/v1/deposits")[0])
    content = registry.sent("PUT", "/incoming/d1")[0]
    assert (announced["filename"], announced["size"]) == ("tides.tar", len(content))
    with tarfile.open(fileobj=io.BytesIO(content)) as sent:
        assert sent.getnames() == ["tides/bagit.txt", "tides/data/one"]


def test_a_plain_folder_needs_a_word(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "one").write_text("1")
    result = run("deposit", str(tmp_path / "plain"))
    assert result.exit_code == 2
    assert "add --bag" in result.output
    assert registry.requests == []
    assert run("deposit", str(tmp_path / "plain"), "--bag").exit_code == 0


def test_an_empty_file_is_not_sent(run: Run, registry: FakeRegistry, tmp_path: Path) -> None:
    (tmp_path / "empty.zip").touch()
    result = run("deposit", str(tmp_path / "empty.zip"))
    assert (result.exit_code, registry.requests) == (2, [])
    assert "is empty" in result.output


def test_a_deposit_is_watched_until_it_is_preserved(run: Run, registry: FakeRegistry, package: Path) -> None:
    copy = {"location": "tape", "uri": "https://tape/a1.tar", "state": "held"}
    done = archive("completed", copies=[copy], publication={"url": "https://access/a1"})
    registry.on("GET /api/v1/archives/a1", (200, archive("running")), (502, b""), (200, done))
    running, completed = [step("ingest", "running")], [step("ingest", "completed")]
    registry.on("GET /api/v1/archives/a1/steps", (200, {"items": running}), (200, {"items": completed}))
    result = run("deposit", str(package), "--watch")
    assert result.exit_code == 0, result.output
    words = [line.split() for line in result.stdout.splitlines()]
    assert [line[1:] for line in words if line[1:2] == ["ingest"]] == [["ingest", "running"], ["ingest", "completed"]]
    assert ["copy", "tape", "https://tape/a1.tar"] in words
    assert ["published", "https://access/a1"] in words


def test_every_reason_of_a_rejection_is_shown(run: Run, registry: FakeRegistry, package: Path) -> None:
    error = {"code": "payload-corrupt", "message": "data/x is corrupt"}
    finding = {"code": "missing", "severity": "invalid", "message": "is not there", "path": "data/y"}
    repeated = {"code": "payload-corrupt", "severity": "invalid", "message": "data/x is corrupt", "path": None}
    failed = step("ingest", "failed", error=error, findings=[repeated, finding])
    registry.on("GET /api/v1/archives/a1", (200, archive("rejected")))
    registry.on("GET /api/v1/archives/a1/steps", (200, {"items": [failed]}))
    result = run("deposit", str(package), "--watch")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-3:] == [
        "a1  rejected",
        "  ingest: data/x is corrupt [payload-corrupt]",
        "  ingest: invalid: is not there (data/y) [missing]",
    ]


def test_a_problem_is_told_with_the_fields_that_are_wrong(run: Run, registry: FakeRegistry, package: Path) -> None:
    problem = {"title": "Unprocessable", "detail": "too large", "errors": [{"field": "body.size", "message": "> 5"}]}
    registry.on("POST /api/v1/deposits", (422, problem))
    result = run("deposit", str(package))
    assert result.exit_code == 1
    assert "Unprocessable (422): too large; body.size: > 5" in result.output


class TestInParts:
    """What is large is sent in parts, and can be resumed."""

    @pytest.fixture(autouse=True)
    def _in_parts(self, registry: FakeRegistry, package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("perdura.client.registry.LARGE", 10)
        package.write_bytes(bytes(range(250)) * 4)
        registry.on("POST /api/v1/deposits", (201, {"id": "d1", "archive": "a1", "upload": None}))
        registry.on("GET /api/v1/deposits/d1/parts", (200, self.page(registry)))
        for number in (1, 2, 3):
            registry.on(f"PUT /incoming/d1/{number}", (200, b""))

    def page(self, registry: FakeRegistry, received: tuple[int, ...] = ()) -> dict[str, object]:
        items = [
            {
                "number": number,
                "offset": (number - 1) * 400,
                "size": 400 if number < 3 else 200,
                "received": number in received,
                "url": f"{registry.url}/incoming/d1/{number}",
            }
            for number in (1, 2, 3)
        ]
        return {"items": items, "next": None}

    def test_every_part_is_sent(self, run: Run, registry: FakeRegistry, package: Path) -> None:
        assert run("deposit", str(package)).exit_code == 0
        assert json.loads(registry.sent("POST", "/api/v1/deposits")[0])["parts"] is True
        sent = [registry.sent("PUT", f"/incoming/d1/{number}") for number in (1, 2, 3)]
        assert b"".join(part for (part,) in sent) == package.read_bytes()
        assert len(registry.sent("POST", "/api/v1/deposits/d1/complete")) == 1

    def test_a_broken_upload_says_how_to_go_on(self, run: Run, registry: FakeRegistry, package: Path) -> None:
        registry.on("PUT /incoming/d1/2", (403, b""))
        result = run("deposit", str(package))
        assert result.exit_code == 1
        assert "--resume d1" in result.output
        assert registry.sent("POST", "/api/v1/deposits/d1/complete") == []

    def test_what_has_arrived_is_not_sent_again(self, run: Run, registry: FakeRegistry, package: Path) -> None:
        registry.on("GET /api/v1/deposits/d1/parts", (200, self.page(registry, received=(1, 3))))
        told = {"filename": "bag.zip", "size": 1000, "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}
        registry.on("GET /api/v1/deposits/d1", (200, {"id": "d1", "archive": "a1", **told}))
        assert run("deposit", str(package), "--resume", "d1").exit_code == 0
        assert [len(registry.sent("PUT", f"/incoming/d1/{number}")) for number in (1, 2, 3)] == [0, 1, 0]
        assert registry.sent("POST", "/api/v1/deposits") == []

    def test_another_file_does_not_go_on_with_it(self, run: Run, registry: FakeRegistry, package: Path) -> None:
        told = {"filename": "bag.zip", "size": 1000, "sha256": "0" * 64}
        registry.on("GET /api/v1/deposits/d1", (200, {"id": "d1", "archive": "a1", **told}))
        result = run("deposit", str(package), "--resume", "d1")
        assert (result.exit_code, registry.sent("PUT", "/incoming/d1/1")) == (2, [])
        assert "not what the deposit was begun with" in result.output


def test_a_file_that_is_here_already_is_not_sent(run: Run, registry: FakeRegistry, package: Path) -> None:
    registry.on("POST /api/v1/deposits", (201, {"id": "d0", "archive": "a0", "existing": True, "upload": None}))
    result = run("deposit", str(package))
    assert (result.exit_code, result.stdout) == (0, "archive a0\n")
    assert registry.sent("PUT", "/incoming/d1") == []
    assert registry.sent("POST", "/api/v1/deposits/d0/complete") == []
