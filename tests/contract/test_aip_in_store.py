"""`perdura aip` with s3:// arguments, on a real object store: every subcommand, and what is not there."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdura.aip_cli import aip
from perdura.settings import Settings, settings
from perdura.storage.s3 import S3Store
from tests.peers.archivematica.driver import zipped_bag

# A command is a process of its own, whose end closes its connections; here they are left to the garbage collector.
pytestmark = [pytest.mark.stack, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

FILES = {"a.txt": b"one\n", "sub/b.json": b'{"a": 1}\n', "sub/ü 100%.txt": b"percent\n"}


@pytest.fixture
def store(seaweedfs: Settings, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The store that the commands reach by their environment."""
    assert seaweedfs.s3_access_key is not None
    monkeypatch.setenv("PERDURA_S3_ENDPOINT", str(seaweedfs.s3_endpoint))
    for name in ("s3_access_key", "s3_secret_key"):
        value = getattr(seaweedfs, name)
        secret = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        monkeypatch.setenv(f"PERDURA_{name.upper()}", secret)
    settings.cache_clear()
    return S3Store(seaweedfs)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(aip, [str(each) for each in arguments])


def made(store: S3Store, name: str, files: dict[str, bytes]) -> str:
    store.put("perdura-incoming", f"{name}.zip", zipped_bag(files))
    target = f"s3://perdura-aips/by-hand/{name}.tar"
    result = call("make", f"s3://perdura-incoming/{name}.zip", target, "--created", "2026-11-28T00:00:00")
    assert result.exit_code == 0, result.output
    return target


def test_an_aip_is_made_from_the_store_into_the_store_with_its_index(store: S3Store, tmp_path: Path) -> None:
    target = made(store, "one", FILES)
    there = store.head("perdura-aips", "by-hand/one.tar")
    index = store.read(store.head("perdura-aips", "by-hand/one.index.jsonl").ref)
    assert json.loads(index.splitlines()[0])["size"] == there.size
    entry = next(each for each in map(json.loads, index.splitlines()) if each.get("path", "").endswith("a.txt"))
    assert store.read(there.ref, entry["offset"], entry["size"]) == FILES["a.txt"]
    local = tmp_path / "one.tar"
    sip = store.head("perdura-incoming", "one.zip")
    (tmp_path / "one.zip").write_bytes(store.read(sip.ref))
    assert call("make", tmp_path / "one.zip", local, "--created", "2026-11-28T00:00:00").exit_code == 0
    assert local.read_bytes() == store.read(there.ref)
    assert call("diff", local, target).exit_code == 0


def test_an_aip_in_the_store_is_inspected_verified_and_its_events_are_listed(store: S3Store) -> None:
    target = made(store, "two", FILES)
    told = json.loads(call("inspect", target, "--json").output)
    assert (told["container"], told["uses"]["original"]) == ("tar", 3)
    verified = call("verify", target, "--json")
    assert (verified.exit_code, json.loads(verified.output)["faults"]) == (0, [])
    lines = [json.loads(line) for line in call("events", target, "--json").output.splitlines()]
    assert "fixity check" in {line["type"] for line in lines}


def test_a_flipped_byte_in_the_store_is_found(store: S3Store) -> None:
    target = made(store, "three", FILES)
    found = store.head("perdura-aips", "by-hand/three.tar")
    data = bytearray(store.read(found.ref))
    data[data.index(b"percent\n")] ^= 1
    store.put("perdura-aips", "by-hand/three.tar", bytes(data))
    assert call("verify", target).exit_code == 1


def test_two_aips_in_the_store_are_compared_by_file(store: S3Store) -> None:
    one, other = made(store, "four", FILES), made(store, "five", {**FILES, "a.txt": b"two\n", "c.txt": b"new\n"})
    result = call("diff", one, other, "--json")
    kinds = {(each["kind"], each["path"]) for each in map(json.loads, result.output.splitlines())}
    assert result.exit_code == 1
    assert {("changed", "data/objects/a.txt"), ("added", "data/objects/c.txt")} <= kinds


def test_an_unpacked_aip_below_a_prefix_is_read_as_well(store: S3Store, tmp_path: Path) -> None:
    made(store, "six", FILES)
    (tmp_path / "six.tar").write_bytes(store.read(store.head("perdura-aips", "by-hand/six.tar").ref))
    with tarfile.open(tmp_path / "six.tar") as archive:
        for member in archive:
            body = archive.extractfile(member)
            assert body is not None
            store.put("perdura-aips", f"unpacked/{member.name}", body.read())
        base = member.name.partition("/")[0]
    for prefix in (f"s3://perdura-aips/unpacked/{base}/", "s3://perdura-aips/unpacked/"):
        result = call("verify", prefix, "--json")
        assert (result.exit_code, json.loads(result.output)["valid"]) == (0, True), result.output


@pytest.mark.parametrize("command", ["inspect", "verify", "events"])
@pytest.mark.parametrize("url", ["s3://perdura-aips/none.tar", "s3://no-such-bucket/x.tar", "s3://perdura-aips/none/"])
def test_what_is_not_there_is_said_in_words(store: S3Store, command: str, url: str) -> None:
    del store
    result = call(command, url)
    assert result.exit_code == 3
    assert "Traceback" not in result.output


def test_a_store_that_does_not_answer_is_said_in_words(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    del store
    monkeypatch.setenv("PERDURA_S3_ENDPOINT", "http://127.0.0.1:9")
    settings.cache_clear()
    result = call("verify", "s3://perdura-aips/x.tar")
    assert result.exit_code == 3
    settings.cache_clear()


def test_a_sip_that_is_not_there_makes_no_aip(store: S3Store) -> None:
    result = call("make", "s3://perdura-incoming/none.zip", "s3://perdura-aips/by-hand/none.tar")
    assert result.exit_code == 3
    assert list(store.list("perdura-aips", "by-hand/none")) == []
