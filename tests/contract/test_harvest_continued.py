"""A file that takes longer than one invocation: the next goes on at the byte where the last one stopped."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from perdura.clients.http import Stream
from perdura.errors import NotStored, Rejected, UpstreamUnavailable
from perdura.ids import new_id
from perdura.outcome import StepState
from perdura.settings import Settings
from perdura.sources.folder import FolderOrigin
from perdura.sources.folder import plan as plan_folder
from perdura.sources.origin import Origin
from perdura.sources.plan import PlannedFile, UpstreamFile, planned
from perdura.sources.prefix import StoreOrigin
from perdura.sources.transfer import Fetched, FileRefused, OutOfTime, fetch
from perdura.steps import harvest
from perdura.storage.memory import MemoryStore
from perdura.storage.s3 import S3Store
from tests.unit.harvest.surroundings import Deadline, Harvesting
from tests.upstreams.invenio import content_path, publish
from tests.upstreams.server import Reply, Upstream

MIB = 1 << 20
LONG = b"".join(hashlib.sha256(str(n).encode()).digest() * 32 for n in range(26 * 1024))
"""26 MiB, no two kibibytes alike: four parts."""
PATH = content_path("rec-1", "long.bin")


@pytest.fixture
def world() -> Harvesting:
    return Harvesting()


def one_file(upstream: Upstream, *replies: Reply) -> str:
    url = publish(upstream, "rec-1", {"long.bin": LONG})
    upstream.add(PATH, *replies)
    return url


def after(calls: int) -> Callable[[], bool]:
    """True from the so many-th time on that it is asked."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


def good(tag: str = '"v1"', body: bytes = LONG) -> Reply:
    return Reply(body, headers={"ETag": tag}, ranges=True)


def begins(upstream: Upstream) -> list[int]:
    """At which byte each request for the file began."""
    asked = [seen.headers for seen in upstream.seen if seen.path == PATH]
    return [int(headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-")) for headers in asked]


def test_each_invocation_goes_on_where_the_last_one_stopped(upstream: Upstream, world: Harvesting) -> None:
    url = one_file(upstream, good())
    checkpoint: Mapping[str, object] = {}
    for _ in range(20):
        world.deadline = Deadline(after(60))
        outcome = harvest.run(world.archive({"url": url}, checkpoint=checkpoint), world.ports())
        if outcome.state is not StepState.QUEUED:
            break
        assert not world.listing("sip/"), "nothing is visible before it is whole"
        checkpoint = outcome.checkpoint
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert world.read("sip/data/content/long.bin") == LONG
    digest = hashlib.sha512(LONG).hexdigest()
    assert f"{digest}  data/content/long.bin\n" in world.read("sip/manifest-sha512.txt").decode()
    starts = begins(upstream)
    assert len(starts) > 2
    assert starts == sorted(set(starts)), "no byte before a stored part is asked for again"
    assert all(start % (8 * MIB) == 0 for start in starts)
    asked = [seen.headers for seen in upstream.seen if seen.path == PATH]
    assert all(headers["if-range"] == '"v1"' for headers in asked[1:])


def test_an_upstream_that_gives_up_is_gone_on_with_later(upstream: Upstream, world: Harvesting) -> None:
    broken = replace(good(), cut_at=20 * MIB)
    url = one_file(upstream, broken, Reply(status=503, headers={"Retry-After": "60"}), good())
    with pytest.raises(UpstreamUnavailable) as caught:
        harvest.run(world.archive({"url": url}), world.ports())
    assert caught.value.retry_after == 60
    outcome = harvest.run(world.archive({"url": url}), world.ports())
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert world.read("sip/data/content/long.bin") == LONG
    assert begins(upstream)[-1] == 16 * MIB


def test_a_file_that_changed_meanwhile_is_begun_anew(upstream: Upstream, world: Harvesting) -> None:
    url = one_file(upstream, good('"old"', LONG[::-1]), good('"new"'))
    world.deadline = Deadline(after(100))
    stopped = harvest.run(world.archive({"url": url}), world.ports())
    assert stopped.state is StepState.QUEUED
    assert stopped.checkpoint["position"] > 0
    world.deadline = Deadline()
    outcome = harvest.run(world.archive({"url": url}, checkpoint=stopped.checkpoint), world.ports())
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert world.read("sip/data/content/long.bin") == LONG


def test_an_upload_that_is_over_is_begun_anew(upstream: Upstream, world: Harvesting) -> None:
    url = one_file(upstream, good())
    world.deadline = Deadline(after(100))
    stopped = harvest.run(world.archive({"url": url}), world.ports())
    world.store.uploads._parts.clear()
    world.deadline = Deadline()
    outcome = harvest.run(world.archive({"url": url}, checkpoint=stopped.checkpoint), world.ports())
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert begins(upstream) == [0, 0]


@pytest.mark.parametrize(
    "reply", [Reply(LONG, headers={"ETag": 'W/"v1"'}, ranges=True), Reply(LONG)], ids=["weak tag", "no tag"]
)
def test_what_cannot_be_gone_on_with_fails_instead_of_running_for_ever(
    upstream: Upstream, world: Harvesting, reply: Reply
) -> None:
    url = one_file(upstream, reply)
    checkpoint: Mapping[str, object] = {}
    for _ in range(2):
        world.deadline = Deadline(after(60))
        outcome = harvest.run(world.archive({"url": url}, checkpoint=checkpoint), world.ports())
        assert outcome.state is StepState.QUEUED
        checkpoint = outcome.checkpoint
    world.deadline = Deadline(after(60))
    with pytest.raises(Rejected) as caught:
        harvest.run(world.archive({"url": url}, checkpoint=checkpoint), world.ports())
    assert caught.value.code == "upstream-too-slow"


def test_a_wrong_checksum_is_found_however_often_the_file_was_put_down(upstream: Upstream, world: Harvesting) -> None:
    wrong = LONG[:-1] + b"?"
    url = one_file(upstream, good('"v1"', wrong))
    checkpoint: Mapping[str, object] = {}
    outcome = None
    for _ in range(30):
        world.deadline = Deadline(after(100))
        outcome = harvest.run(world.archive({"url": url}, checkpoint=checkpoint), world.ports())
        if outcome.state is not StepState.QUEUED:
            break
        checkpoint = outcome.checkpoint
    assert outcome is not None
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "checksum-mismatch")
    assert not world.listing("sip/data/content/")


class _Opened:
    """An origin that counts at which byte it was opened."""

    def __init__(self, inner: Origin) -> None:
        self._inner = inner
        self.begins: list[str] = []

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,
        decode: bool = True,
    ) -> Iterator[Stream]:
        self.begins.append((headers or {}).get("Range", "bytes=0-"))
        opened: AbstractContextManager[Stream] = self._inner.stream(
            url, headers=headers, total_seconds=total_seconds, decode=decode
        )
        with opened as stream:
            yield stream


def in_two_goes(file: PlannedFile, origin: Origin, store: MemoryStore, calls: int = 70) -> tuple[Fetched, list[str]]:
    opened = _Opened(origin)
    with pytest.raises(OutOfTime) as stopped:
        fetch(file, opened, store, "sips", "key", out_of_time=after(calls), partial="partial")
    assert stopped.value.position > 0
    return fetch(file, opened, store, "sips", "key", partial="partial"), opened.begins


def test_files_of_a_folder_are_gone_on_with_while_they_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(LONG)
    (file,) = plan_folder(tmp_path, "local").files
    store = MemoryStore()
    fetched, begun = in_two_goes(file, FolderOrigin(tmp_path), store)
    assert begun[1] != "bytes=0-"
    assert fetched.checksums["sha512"] == hashlib.sha512(LONG).hexdigest()
    assert store.read(store.head("sips", "key").ref) == LONG


def test_a_file_of_a_folder_that_was_replaced_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(bytes(len(LONG)))
    (file,) = plan_folder(tmp_path, "local").files
    store, origin = MemoryStore(), FolderOrigin(tmp_path)
    with pytest.raises(OutOfTime):
        fetch(file, origin, store, "sips", "key", out_of_time=after(70), partial="partial")
    path.unlink()
    path.write_bytes(LONG)
    os.utime(path, (1, 1))
    fetched = fetch(file, origin, store, "sips", "key", partial="partial")
    assert fetched.checksums["md5"] == hashlib.md5(LONG).hexdigest()


def test_objects_of_a_prefix_are_gone_on_with() -> None:
    store = MemoryStore()
    info = store.put(Settings().bucket_incoming, "set/long.bin", LONG).info
    address = f"s3://{Settings().bucket_incoming}/set/long.bin#{info.ref.etag}"
    (file,) = planned([UpstreamFile("long.bin", address, size=len(LONG))])
    fetched, begun = in_two_goes(file, StoreOrigin(store), store, calls=20)
    assert begun[1] != "bytes=0-"
    assert fetched.checksums["sha256"] == hashlib.sha256(LONG).hexdigest()


def test_a_declared_adler32_survives_the_break(tmp_path: Path) -> None:
    (tmp_path / "long.bin").write_bytes(LONG)
    (file,) = plan_folder(tmp_path, "local").files
    adler = f"{zlib.adler32(LONG):08x}"
    fetched, _ = in_two_goes(replace(file, checksums={"adler32": adler}), FolderOrigin(tmp_path), MemoryStore())
    assert fetched.compared == ("adler32",)
    with pytest.raises(FileRefused):
        in_two_goes(replace(file, checksums={"adler32": "00000000"}), FolderOrigin(tmp_path), MemoryStore())


@pytest.mark.stack
def test_a_real_store_keeps_the_upload_open_between_two_goes(tmp_path: Path, seaweedfs: Settings) -> None:
    (tmp_path / "long.bin").write_bytes(LONG)
    (file,) = plan_folder(tmp_path, "local").files
    store, bucket, key = S3Store(seaweedfs), seaweedfs.bucket_sips, f"tests/{new_id()}"
    opened = _Opened(FolderOrigin(tmp_path))
    try:
        with pytest.raises(OutOfTime) as stopped:
            fetch(file, opened, store, bucket, key, out_of_time=after(70), partial=f"{key}.json")
        assert stopped.value.position == 16 * MIB
        with pytest.raises(NotStored):
            store.head(bucket, key)
        fetched = fetch(file, opened, store, bucket, key, partial=f"{key}.json")
        assert opened.begins == ["bytes=0-", f"bytes={16 * MIB}-"]
        stored = hashlib.sha256(b"".join(bytes(chunk) for chunk in store.stream(store.head(bucket, key).ref)))
        assert stored.hexdigest() == fetched.checksums["sha256"] == hashlib.sha256(LONG).hexdigest()
    finally:
        store.close()
