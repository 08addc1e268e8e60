"""Defects of bagit-create that have no test elsewhere; docs/bagit-create.md lists all of them with their tests."""

from __future__ import annotations

import json
import os
import subprocess
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import bagit
import pytest

from perdura.clients.http import HttpClient, Limits, Stream
from perdura.clients.reach import Reach
from perdura.errors import Rejected, UpstreamUnavailable
from perdura.outcome import StepState
from perdura.settings import Settings
from perdura.sources.plan import UpstreamFile, planned
from perdura.sources.transfer import fetch
from perdura.steps import harvest
from perdura.storage.memory import MemoryStore
from perdura.storage.memory_uploads import MemoryUploads
from perdura.storage.uploads import Upload
from tests.unit.harvest.surroundings import Harvesting
from tests.upstreams.invenio import content_path, publish
from tests.upstreams.server import Reply, Upstream

MIB = 1 << 20


@pytest.fixture
def world() -> Harvesting:
    return Harvesting()


def test_two_harvests_of_one_record_in_the_same_second_do_not_meet(upstream: Upstream, world: Harvesting) -> None:
    url = publish(upstream, "rec-1", {"data.csv": b"a,b"})
    archive = world.archive({"url": url})
    other = replace(archive, id=UUID(int=7))
    first, second = harvest.run(archive, world.ports()), harvest.run(other, world.ports())
    assert (first.state, second.state) == (StepState.COMPLETED, StepState.COMPLETED)
    keys = {item.ref.key for item in world.store.list(world.settings.bucket_sips, "")}
    assert all(key.startswith((f"{archive.id}/", f"{other.id}/")) for key in keys)
    assert {key.partition("/")[2] for key in keys if key.startswith(str(other.id))} == set(world.listing())


def test_a_failed_harvest_leaves_no_package_and_no_stray_file(
    upstream: Upstream, world: Harvesting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    url = publish(upstream, "rec-1", {"data.csv": b"a,b", "long.bin": bytes(9 * MIB)})
    upstream.add(content_path("rec-1", "long.bin"), Reply(b"x" * (9 * MIB)))
    assert harvest.run(world.archive({"url": url}), world.ports()).state is StepState.FAILED
    assert list(tmp_path.iterdir()) == []
    assert "sip/bagit.txt" not in world.listing()
    assert not world.store.uploads._parts, "no upload is left open"


def test_source_and_recid_are_written_however_the_record_was_named(upstream: Upstream, world: Harvesting) -> None:
    harvest.run(world.archive({"url": publish(upstream, "rec-1", {"a": b"a"})}), world.ports())
    sip = json.loads(world.read("sip/data/meta/sip.json"))
    assert (sip["source"], sip["recid"]) == ("demo", "rec-1")


def test_a_line_break_in_a_local_name_leaves_a_valid_bag(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "two\nlines.txt").write_bytes(b"content")
    world = Harvesting(settings=Settings(harvest_local_roots=str(tmp_path)))
    outcome = harvest.run(world.archive({"url": folder.as_uri()}), world.ports())
    assert outcome.state in (StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS)
    bag = tmp_path / "bag"
    for key in world.listing("sip/"):
        target = bag / key.removeprefix("sip/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(world.read(key))
    bagit.Bag(str(bag)).validate()
    names = [entry["origin"]["filename"] for entry in json.loads(world.read("sip/data/meta/sip.json"))["contentFiles"]]
    assert "two\nlines.txt" in names


def test_a_local_name_that_is_no_text_stays_known(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    name = b"caf\xe9.txt"
    (folder / os.fsdecode(name)).write_bytes(b"latin")
    world = Harvesting(settings=Settings(harvest_local_roots=str(tmp_path)))
    outcome = harvest.run(world.archive({"url": f"file://{folder}"}), world.ports())
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
    for document, where in (("sip.json", "contentFiles"), ("plan.json", "files")):
        (entry, *_) = json.loads(world.read(f"sip/data/meta/{document}").decode("utf-8"))[where]
        original = entry["origin"]["filename"] if document == "sip.json" else entry["key"]
        assert os.fsencode(original) == name
    assert world.read("sip/data/content/caf_.txt") == b"latin"


def test_a_folder_may_be_deep_and_one_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "set" / "/".join(["d"] * 1500)
    subprocess.run(["mkdir", "-p", str(deep)], check=True)
    (deep / "a.txt").write_bytes(b"deep")
    try:
        world = Harvesting(settings=Settings(harvest_local_roots=str(tmp_path)))
        outcome = harvest.run(world.archive({"url": f"file://{tmp_path}/set"}), world.ports())
        assert outcome.state is StepState.COMPLETED_WITH_WARNINGS
        assert world.read("sip/data/content/a.txt") == b"deep"
        scan = os.scandir

        def closed(path: os.PathLike[str]) -> Any:
            if os.fspath(path).endswith("set/d"):
                raise PermissionError(13, "Permission denied")
            return scan(path)

        monkeypatch.setattr(os, "scandir", closed)
        with pytest.raises(Rejected, match="The folder d cannot be read"):
            harvest.run(world.archive({"url": f"file://{tmp_path}/set"}, attempt=2), world.ports())
        monkeypatch.undo()
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "set")], check=True)


def test_a_server_that_says_nothing_is_given_up(upstream: Upstream) -> None:
    upstream.add("/slow", Reply(b"late", delay=1.5))
    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    limits = Limits(read_seconds=0.2, attempts=1)
    with HttpClient(reach, user_agent="tests", limits=limits) as client, pytest.raises(UpstreamUnavailable):
        client.get(f"{upstream.base}/slow")


def test_a_body_that_never_ends_is_given_up(upstream: Upstream) -> None:
    upstream.add("/drip", Reply(bytes(1000), drip=0.05))
    reach = Reach(frozenset({"127.0.0.1"}), allow_loopback=True)
    limits = Limits(total_seconds=0.3, attempts=1)
    with HttpClient(reach, user_agent="tests", limits=limits) as client, pytest.raises(UpstreamUnavailable):
        client.get(f"{upstream.base}/drip")


def test_files_are_transferred_side_by_side(upstream: Upstream, world: Harvesting) -> None:
    files = {f"{number}.bin": bytes([number]) * (2 * MIB) for number in range(4)}
    url = publish(upstream, "rec-1", files)
    for name, data in files.items():
        upstream.add(content_path("rec-1", name), Reply(data, delay=0.5))
    begun = time.monotonic()
    assert harvest.run(world.archive({"url": url}), world.ports()).state is StepState.COMPLETED
    assert time.monotonic() - begun < len(files) * 0.5, "one after the other would take longer"


class _Nowhere(MemoryUploads):
    """Uploads that keep no bytes, so that the memory seen is the harvest's own."""

    def put_part(self, upload: Upload, number: int, data: bytes | bytearray) -> None:
        self.take(upload, number, b"")
        self.sizes = {**getattr(self, "sizes", {}), number: len(data)}

    def parts(self, upload: Upload) -> list[object]:  # type: ignore[override]
        return [replace(part, size=self.sizes[part.number]) for part in super().parts(upload)]


class _Long:
    """An origin of one file of so many MiB, whose size nobody declares."""

    def __init__(self, size: int) -> None:
        self.size = size

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,
        decode: bool = True,
    ) -> Iterator[Stream]:
        yield Stream(url, 200, (), (bytes(MIB // 4) for _ in range(4 * self.size)))


def test_memory_does_not_grow_with_the_file() -> None:
    peaks = []
    for size in (64, 256):
        store = MemoryStore()
        store._uploads = _Nowhere(store)
        (file,) = planned([UpstreamFile("recording.mp4", "https://indico.example.org/recording.mp4")])
        tracemalloc.start()
        try:
            fetched = fetch(file, _Long(size), store, "sips", "key")
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert fetched.size == size * MIB
    assert max(peaks) < 64 * MIB
    assert peaks[1] < peaks[0] + 8 * MIB
