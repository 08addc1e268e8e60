"""What a step over several invocations records, and what it notices, on servers in moods that only the fake has."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import md5, sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from perdura.errors import Retryable
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.packages.long_digest import SAVED_AT
from perdura.ports import Standing
from perdura.steps import publish
from perdura.steps.publish_transfer import MOST_PARTS, part_size
from perdura.storage.memory import MemoryStore
from perdura.storage.store import ObjectRef
from perdura.storage.uploads import Upload
from tests.contract.test_inveniordm import communities
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.ports import AT, Budget, MemoryPlacements, ports_for, preserved
from tests.contract.test_inveniordm.test_step import FILES, continued, going_on, run, zips
from tests.contract.test_inveniordm.world import Target


@pytest.fixture
def target(fake: Fake) -> Target:
    return Target(fake.url, TOKENS, fake.transport, fake)


def test_bytes_that_are_not_those_of_the_index_are_noticed_over_several_invocations(
    target: Target, access: Callable[..., Path]
) -> None:
    store, placements, path = MemoryStore(), MemoryPlacements(), access(multipart_above=2**20, part_size=2**20)
    archive = preserved(store, {"long.bin": os.urandom(3 * 2**20)})
    run(target, store, archive, path, placements)
    stream = store.stream
    store.stream = lambda *told: (chunk if len(chunk) < 2**16 else bytes(len(chunk)) for chunk in stream(*told))
    outcomes, _ = continued(target, store, archive, path, placements)
    assert (outcomes[-1].state, outcomes[-1].error_code) == (StepState.BLOCKED, "bad-aip")
    assert len(outcomes) > 1


def test_a_zip_is_recorded_though_the_archive_was_decided_anew_at_the_last_moment(
    target: Target, fake: Fake, access: Callable[..., Path]
) -> None:
    """It is restricted after the record was published, right before that is noted."""
    store, path = MemoryStore(), access(container="zip", restricted="restrict")
    archive = preserved(store, FILES)

    class Late(MemoryPlacements):
        def standing(self, archive: UUID) -> Standing | None:
            published = any(item.published for item in fake.items.values())
            return Standing(published, metadata) if published else None

    metadata = archive.metadata
    outcome = run(target, store, archive, path, placements := Late())
    assert (outcome.state, outcome.error_code) == (StepState.WAITING, "decided-anew")
    assert (len(zips(outcome)), outcome.published) == (1, {})
    assert [event.type for event in outcome.events] == ["information package creation"]
    archive = replace(going_on(archive, outcome), restricted=True, packages=(*archive.packages, *zips(outcome)))
    outcome = run(target, store, archive, path, placements)
    assert (outcome.state, zips(outcome)) == (StepState.COMPLETED, []), outcome.message


def test_a_zip_is_recorded_though_its_server_is_away(target: Target, fake: Fake, access: Callable[..., Path]) -> None:
    store, path = MemoryStore(), access(container="zip")
    archive, fake.storm = preserved(store, {"a.txt": b"a"}), 10**6
    with pytest.raises(Retryable):
        run(target, store, archive, path)
    assert list(store.list("perdura-dips", "")) == []
    fake.storm, fake.limits["publisher"] = 0, fake.counted.get("publisher", 0) + 1
    outcome = run(target, store, archive, path)
    assert (outcome.state, len(zips(outcome))) == (StepState.WAITING, 1)
    archive = replace(going_on(archive, outcome), packages=(*archive.packages, *zips(outcome)))
    with pytest.raises(Retryable):
        run(target, store, archive, path)


def test_a_record_that_is_shut_is_recorded_once_while_another_destination_is_waited_for(
    target: Target, fake: Fake, access: Callable[..., Path]
) -> None:
    """What is withheld from the library is shut there; the other destination restricts it, and reviews."""
    store, placements, other = MemoryStore(), MemoryPlacements(), Fake("http://other.test")
    archive = preserved(store, FILES)
    run(target, store, archive, access(), placements)
    path, more = access(), access(restricted="restrict", community="archive", review=True).read_text()
    more = more.replace('id = "library"', 'id = "other"').replace(fake.url, other.url)
    path.write_text(f"{path.read_text()}\n{more}")
    servers = {"library": target, "other": Target(other.url, TOKENS, other.transport, other)}
    archive = replace(archive, restricted=True)
    events = []
    for _ in range(2):
        ports = ports_for(store, path, placements, archive.step.id)
        outcome = publish.run(archive, ports, lambda destination: servers[destination.id].wire())
        assert outcome.state is StepState.WAITING, outcome.message
        assert "restricted" in outcome.output["destinations"]["library"]
        archive = going_on(archive, outcome)
        events += [event.type for event in outcome.events]
    assert events == ["policy assignment"]


@dataclass
class Later:
    """A clock that is so much later than that of `ports_for`."""

    by: timedelta

    def now(self) -> datetime:
        return AT + self.by


class Killed(BaseException):
    """The process is gone: nothing in it may catch this."""


@dataclass
class Deadly(Budget):
    """Like a budget; at its end the process is killed instead of being told."""

    def near(self) -> bool:
        if super().near():
            raise Killed
        return False


def zip_policy(access: Callable[..., Path]) -> Path:
    return access(container="zip")


def large(store: MemoryStore) -> ArchiveView:
    """An Archive whose zip has several parts of the store, with borders of parts within files and between them."""
    small = {f"small/{number:03}.bin": os.urandom(100_000) for number in range(100)}
    return preserved(store, {"a.bin": os.urandom(11 * 2**20), **small, "z.bin": os.urandom(9 * 2**20)})


@pytest.fixture
def whole(target: Target, access: Callable[..., Path]) -> tuple[MemoryStore, ArchiveView, bytes]:
    """Such an Archive, and its zip as it is made without a stop."""
    store = MemoryStore()
    archive = large(store)
    (dip,) = zips(run(target, store, archive, zip_policy(access)))
    return store, archive, store.read(store.head(dip.bucket, dip.key).ref)


@pytest.mark.parametrize("asks", [1, 2])
def test_a_zip_is_gone_on_with_by_the_next_invocation(
    target: Target, access: Callable[..., Path], whole: tuple[MemoryStore, ArchiveView, bytes], asks: int
) -> None:
    store, archive, expected = whole
    outcomes, read = continued(target, store, archive, zip_policy(access), MemoryPlacements(), asks=asks)
    (dip,) = [package for outcome in outcomes for package in zips(outcome)]
    made = store.read(store.head(dip.bucket, dip.key).ref)
    assert made == expected
    assert dip.checksums == {"md5": md5(made).hexdigest(), "sha256": sha256(made).hexdigest()}
    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.testzip() is None
    assert outcomes[-1].state is StepState.COMPLETED, outcomes[-1].message
    told = [str(outcome.checkpoint) for outcome in outcomes]
    making = [outcome for outcome, each in zip(outcomes, told, strict=True) if "zipping" in each]
    reading_back = [each for each in told if "'stored'" in each]
    assert len(making) - len(reading_back) == (3 if asks == 1 else 1)
    assert len(reading_back) > 1
    assert all(outcome.state is StepState.QUEUED for outcome in making)
    index = store.head(archive.packages[0].bucket, archive.packages[0].index_key or "").size
    assert max(read[: len(making)]) < asks * 8 * 2**20 + 2 * 2**20 + 2 * index, read


@pytest.mark.parametrize(
    ("after", "killed_at"), [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1), (0, None), (1, None), (3, None)]
)
def test_a_zip_is_the_same_wherever_a_worker_died(
    target: Target,
    access: Callable[..., Path],
    whole: tuple[MemoryStore, ArchiveView, bytes],
    after: int,
    killed_at: int | None,
) -> None:
    """After so many invocations that ended well one is killed, at its so-manieth part or when it had done all."""
    store, archive, expected = whole
    path, placements = zip_policy(access), MemoryPlacements()

    def once(deadline: Budget) -> Outcome:
        ports = replace(ports_for(store, path, placements, archive.step.id), deadline=deadline)
        return publish.run(archive, ports, lambda destination: target.wire())

    for _ in range(after):
        archive = going_on(archive, once(Budget(1)))
    with suppress(Killed) if killed_at is None else pytest.raises(Killed):
        once(Deadly(killed_at))
    outcome = once(Budget())
    (dip,) = zips(outcome)
    assert store.read(store.head(dip.bucket, dip.key).ref) == expected
    assert outcome.state is StepState.COMPLETED, outcome.message


def test_a_zip_whose_upload_the_store_gave_up_is_begun_anew(
    target: Target, access: Callable[..., Path], whole: tuple[MemoryStore, ArchiveView, bytes]
) -> None:
    store, archive, expected = whole
    path, placements = zip_policy(access), MemoryPlacements()
    ports = replace(ports_for(store, path, placements, archive.step.id), deadline=Budget(1))
    archive = going_on(archive, publish.run(archive, ports, lambda destination: target.wire()))
    told = archive.step.checkpoint["sent"]["library"]["zipping"]
    store.uploads.abort(Upload(ports.settings.bucket_dips, "", told["upload"]))
    outcome = run(target, store, archive, path, placements)
    (dip,) = zips(outcome)
    assert store.read(store.head(dip.bucket, dip.key).ref) == expected


def test_a_zip_that_reads_back_as_other_bytes_is_not_believed(
    target: Target, access: Callable[..., Path], whole: tuple[MemoryStore, ArchiveView, bytes]
) -> None:
    store, archive, expected = whole
    path, placements, stream = zip_policy(access), MemoryPlacements(), store.stream

    def spoilt(ref: ObjectRef, *told: Any) -> Any:
        return (bytes(len(chunk)) if ref.bucket == "perdura-dips" else chunk for chunk in stream(ref, *told))

    store.stream = spoilt
    with pytest.raises(Retryable, match="reads back"):
        run(target, store, archive, path, placements)
    store.stream = stream
    (dip,) = zips(run(target, store, archive, path, placements))
    assert store.read(store.head(dip.bucket, dip.key).ref) == expected


def test_a_zip_that_is_gone_while_it_is_read_back_is_begun_anew(
    target: Target, access: Callable[..., Path], whole: tuple[MemoryStore, ArchiveView, bytes]
) -> None:
    store, archive, expected = whole
    path, placements = zip_policy(access), MemoryPlacements()
    ports = replace(ports_for(store, path, placements, archive.step.id), deadline=Budget(4))
    archive = going_on(archive, publish.run(archive, ports, lambda destination: target.wire()))
    assert "stored" in archive.step.checkpoint["sent"]["library"]["zipping"]
    for info in list(store.list("perdura-dips", "")):
        store.delete(store.head(info.ref.bucket, info.ref.key).ref)
    (dip,) = zips(run(target, store, archive, path, placements))
    assert store.read(store.head(dip.bucket, dip.key).ref) == expected


def test_a_zip_that_would_be_another_now_is_begun_anew(
    target: Target, access: Callable[..., Path], whole: tuple[MemoryStore, ArchiveView, bytes]
) -> None:
    """The policy, or what the zip tells of its making, changed between two invocations."""
    store, archive, expected = whole
    path, placements = zip_policy(access), MemoryPlacements()
    ports = replace(ports_for(store, path, placements, archive.step.id), deadline=Budget(1))
    archive = going_on(archive, publish.run(archive, ports, lambda destination: target.wire()))
    outcome = run(target, store, archive, access(container="zip", dip={"exclude": ["a.bin"]}), placements)
    (dip,) = zips(outcome)
    made = store.read(store.head(dip.bucket, dip.key).ref)
    with zipfile.ZipFile(io.BytesIO(made)) as opened:
        assert opened.testzip() is None
        assert len(opened.namelist()) == 102
    assert len(made) < len(expected)


@pytest.mark.parametrize("size", [1, 2**30, 640 * 2**30 + 1, 700 * 2**30 + 12_345, 5 * 2**40])
@pytest.mark.parametrize("wanted", [2**20, 10**6, 64 * 2**20])
def test_a_file_of_any_length_can_be_gone_on_with_after_every_part(size: int, wanted: int) -> None:
    part = part_size(size, wanted)
    assert part % SAVED_AT == 0
    assert part >= wanted
    assert -(-size // part) <= MOST_PARTS


def two_libraries(access: Callable[..., Path], fake: Fake, other: Fake, **policy: Any) -> Path:
    """One destination that has curators, and another one of that policy."""
    path = access(community="archive", review=True)
    more = access(**policy).read_text().replace('id = "library"', 'id = "other"').replace(fake.url, other.url)
    path.write_text(f"{path.read_text()}\n{more}")
    return path


def test_a_step_waits_for_curators_though_another_destination_failed_and_tells_of_it(
    target: Target, fake: Fake, access: Callable[..., Path]
) -> None:
    store, placements, other = MemoryStore(), MemoryPlacements(), Fake("http://other.test")
    archive = preserved(store, {"a.txt": b"a"})
    path = two_libraries(access, fake, other, container="zip", resource_type="nope")
    servers = {"library": target, "other": Target(other.url, TOKENS, other.transport, other)}

    def once() -> Outcome:
        ports = ports_for(store, path, placements, archive.step.id)
        return publish.run(archive, ports, lambda destination: servers[destination.id].wire())

    outcome = once()
    assert outcome.state is StepState.WAITING, outcome.message
    assert outcome.poll_at is not None
    assert (outcome.error_code, "Invalid value nope" in (outcome.message or "")) == ("access-system-refused", True)
    assert [event.type for event in outcome.events] == ["information package creation"]
    assert len(zips(outcome)) == 1
    request = outcome.output["destinations"]["library"]["request"]
    archive = replace(going_on(archive, outcome), packages=(*archive.packages, *zips(outcome)))
    other.calls.clear()
    outcome = once()
    assert (outcome.state, outcome.error_code) == (StepState.WAITING, "access-system-refused")
    assert (outcome.events, other.calls) == ((), [])
    archive = going_on(archive, outcome)
    communities.decide(fake, request, "accept")
    outcome = once()
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "access-system-refused")
    assert list(outcome.published) == ["library"]
    assert [(event.type, event.outcomes[0].outcome) for event in outcome.events] == [
        ("information package creation", "success"),
        ("dissemination", "success"),
        ("dissemination", "fail"),
    ]


def test_what_failed_is_tried_again_while_curators_are_waited_for(
    target: Target, fake: Fake, access: Callable[..., Path]
) -> None:
    store, placements, other = MemoryStore(), MemoryPlacements(), Fake("http://other.test")
    archive = preserved(store, FILES)
    path = two_libraries(access, fake, other)
    tokens = {"publisher": "wrong"}
    servers = {"library": target, "other": Target(other.url, tokens, other.transport, other)}

    def once(hours: int) -> Outcome:
        clock = Later(timedelta(hours=hours))
        ports = replace(ports_for(store, path, placements, archive.step.id), clock=clock)
        return publish.run(archive, ports, lambda destination: servers[destination.id].wire())

    outcome = once(0)
    assert (outcome.state, outcome.error_code) == (StepState.WAITING, "access-system-forbids")
    archive, tokens["publisher"] = going_on(archive, outcome), TOKENS["publisher"]
    assert once(0).error_code == "access-system-forbids"
    outcome = once(2)
    assert (outcome.state, outcome.error_code, list(outcome.published)) == (StepState.WAITING, None, ["other"])
    archive = going_on(archive, outcome)
    assert once(3).published == {}
