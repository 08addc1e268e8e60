"""`perdura aip` alone, on files: no platform, no store."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import bagit
import pytest
from click.testing import CliRunner, Result

from perdura.aip_cli import aip
from perdura.packages.limits import LIMITS
from perdura.settings import settings
from tests.peers.archivematica.driver import zipped_bag

FILES = {"a.txt": b"one\n", "sub/b.json": b'{"a": 1}\n', "sub/100%.txt": b"percent\n"}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(aip, [str(each) for each in arguments])


def made(folder: Path, name: str, files: dict[str, bytes], *options: str) -> Path:
    (folder / f"{name}.zip").write_bytes(zipped_bag(files))
    return made_of(folder / f"{name}.zip", folder / f"{name}.tar", *options)


def made_of(sip: Path, target: Path, *options: str) -> Path:
    result = call("make", sip, target, "--created", "2026-11-28T00:00:00", *options)
    assert result.exit_code == 0, result.output
    return target


def test_the_same_sip_gives_the_same_bytes_which_any_bag_reader_finds_valid(tmp_path: Path) -> None:
    # bagit-python does not decode a percent sign in a manifest (packages.md M4).
    files = {path: body for path, body in FILES.items() if "%" not in path}
    one = made(tmp_path, "one", files)
    two = made_of(tmp_path / "one.zip", tmp_path / "two.tar")
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    (folder,) = (tmp_path / "out").iterdir()
    assert bagit.Bag(str(folder)).is_valid()
    assert (tmp_path / "one.index.jsonl").exists()


@pytest.mark.parametrize("profile", ["perdura", "eark"])
def test_an_aip_is_found_valid_and_one_flipped_byte_is_found(tmp_path: Path, profile: str) -> None:
    target = made(tmp_path, "one", FILES, "--profile", profile)
    result = call("verify", target, "--json")
    assert (result.exit_code, json.loads(result.output)["valid"]) == (0, True)
    data = bytearray(target.read_bytes())
    data[data.index(b"one\n")] ^= 1
    target.write_bytes(data)
    assert call("verify", target).exit_code == 1


@pytest.mark.parametrize("profile", ["perdura", "eark"])
def test_an_aip_of_the_longest_paths_that_a_submission_may_have_is_found_valid(tmp_path: Path, profile: str) -> None:
    path = "/".join(["d" * 99] * 8) + "/" + "e" * 91
    assert len(f"bag/data/{path}") == LIMITS.path_bytes
    aip_file = made(tmp_path, "long", {path: b"deep\n"}, "--profile", profile)
    result = call("verify", aip_file)
    assert result.exit_code == 0, result.output
    assert call("inspect", aip_file).exit_code == 0


def test_a_payload_file_that_the_mets_does_not_list_is_found(tmp_path: Path) -> None:
    target = made(tmp_path, "one", {"a.txt": b"one\n"})
    with tarfile.open(target) as archive:
        archive.extractall(tmp_path / "out", filter="data")
    (folder,) = (tmp_path / "out").iterdir()
    (folder / "data/objects/stowaway.txt").write_bytes(b"who am I")
    bag = bagit.Bag(str(folder))
    bag.save(manifests=True)
    result = call("verify", folder, "--json")
    assert result.exit_code == 1
    assert json.loads(result.output)["faults"] == ["file-undescribed: data/objects/stowaway.txt is not in the METS"]


@pytest.mark.parametrize("name", ["one.tar", "one.index.jsonl"])
def test_what_is_there_already_is_never_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "one.zip").write_bytes(zipped_bag(FILES))
    (tmp_path / name).write_bytes(b"the only copy")
    result = call("make", tmp_path / "one.zip", tmp_path / "one.tar")
    assert result.exit_code == 3
    assert "already there" in result.output
    assert (tmp_path / name).read_bytes() == b"the only copy"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"one.zip", name})


def test_files_are_characterised_by_the_tools_that_are_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERDURA_CHARACTERISE", "count [txt]: wc -c {file}")
    settings.cache_clear()
    try:
        with tarfile.open(made(tmp_path, "one", FILES)) as archive:
            assert any(name.endswith("/characterisation/count.jsonl") for name in archive.getnames())
    finally:
        settings.cache_clear()


def test_events_and_contents_are_told(tmp_path: Path) -> None:
    target = made(tmp_path, "one", FILES)
    told = json.loads(call("inspect", target, "--json").output)
    assert told["uses"]["original"] == 3
    assert told["events"]["creation"] == 1
    lines = [json.loads(line) for line in call("events", target, "--json").output.splitlines()]
    assert {"fixity check", "format identification", "virus check"} <= {line["type"] for line in lines}


def test_two_aips_are_compared_by_content(tmp_path: Path) -> None:
    one = made(tmp_path, "one", FILES)
    changed = {"a.txt": b"two\n", "moved/b.json": FILES["sub/b.json"], "new.txt": b"new", "sub/100%.txt": b"percent\n"}
    two = made(tmp_path, "two", changed)
    result = call("diff", one, two, "--json")
    found = {(line["kind"], line["path"]) for line in map(json.loads, result.output.splitlines())}
    assert result.exit_code == 1
    assert {
        ("changed", "data/objects/a.txt"),
        ("moved", "data/objects/moved/b.json"),
        ("added", "data/objects/new.txt"),
    } <= found
    assert not any("100%" in path for _, path in found)
    assert call("diff", one, one).exit_code == 0


def test_what_is_no_aip_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bag.zip").write_bytes(zipped_bag(FILES))
    assert call("inspect", tmp_path / "bag.zip").exit_code == 3
    assert call("verify", tmp_path / "nothing").exit_code == 3


def test_the_command_works_as_a_program(tmp_path: Path) -> None:
    target = made(tmp_path, "one", FILES)
    command = [sys.executable, "-m", "perdura.cli", "aip", "verify", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "valid")
