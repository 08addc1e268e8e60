"""A package verified in work units, stopped wherever it can be, gets the report it would get in one go."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from perdura.errors import Broken, ObjectChanged
from perdura.outcome import ArchiveView, Outcome, Package, PackageKind, StepState, StepView, UnitView, WorkUnit
from perdura.packages import long_digest, resumable
from perdura.packages.sources import StoredObject, StoredPrefix
from perdura.packages.verify import verify
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps import ingest, ingest_custody, ingest_units
from perdura.storage import uploads
from perdura.storage.memory import MemoryStore
from tests.corpus.tree import as_archive, bag, with_tag_manifest
from tests.unit.preserve.fakes import NOW, NoIntents, derived

ARCHIVE, STEP = UUID(int=1), UUID(int=2)
LONG = 3 * 2**20 + 77
_CHANCE = random.Random(3)
PAYLOAD = {
    "data/a/long.bin": _CHANCE.randbytes(LONG),
    **{f"data/b/{number:02d}.txt": _CHANCE.randbytes(900) for number in range(40)},
}
SOUND = with_tag_manifest(bag(PAYLOAD, algorithms=("sha256", "md5")))
CORRUPT = SOUND | {"data/a/long.bin": PAYLOAD["data/a/long.bin"][:-1] + b"?"}


class Deadline:
    """Says "stop" after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def near(self) -> bool:
        self.looks -= 1
        return self.looks < 0


class Clock:
    def now(self) -> Any:
        return NOW


def ports(store: MemoryStore, looks: int, unit_bytes: int = 20_000) -> Ports:
    return Ports(
        settings=Settings(verify_unit_bytes=unit_bytes),
        store=store,
        clock=Clock(),
        deadline=Deadline(looks),
        intents=NoIntents(),
        progress=lambda what, done, total: None,
        derived=derived,
    )


def deposited(store: MemoryStore, data: bytes, **told: Any) -> ArchiveView:
    store.put("perdura-incoming", "deposits/d", data)
    step = StepView(STEP, "ingest", 1, {"bucket": "perdura-incoming", "key": "deposits/d", **told})
    return ArchiveView(ARCHIVE, step, title="x")


def work(archive: ArchiveView, store: MemoryStore, looks: int, unit_bytes: int = 20_000) -> tuple[Outcome, int]:
    """Run the step and its units as the runtime does; gives the last outcome and how often units were run."""
    runs = 0
    units: dict[str, UnitView] = {}
    while True:
        archive = replace(archive, step=replace(archive.step, units=units))
        outcome = ingest.run(archive, ports(store, looks, unit_bytes))
        if outcome.state is not StepState.WAITING:
            return outcome, runs
        archive = replace(archive, step=replace(archive.step, checkpoint=dict(outcome.checkpoint or {})))
        for unit in outcome.units:
            while True:
                done = ingest_units.run(archive, unit, ports(store, looks))
                runs += 1
                unit = WorkUnit(unit.key, done.checkpoint)
                if done.done:
                    break
            units[unit.key] = UnitView("completed", done.checkpoint, done.result)


@pytest.mark.parametrize(
    ("kind", "looks"),
    # A compressed file cannot be continued: it is given the time it needs.
    [("zip", 1), ("zip", 2), ("zip", 3), ("zip", 1000), ("tar", 1), ("tar", 3), ("tar", 1000), ("deflated", 1000)],
)
@pytest.mark.parametrize(("files", "verdict"), [(SOUND, "warnings"), (CORRUPT, "invalid")])
def test_the_outcome_is_that_of_one_go(kind: str, files: dict[str, bytes], verdict: str, looks: int) -> None:
    store = MemoryStore()
    data = as_archive(files, kind)
    archive = deposited(store, data)
    outcome, runs = work(archive, store, looks)
    whole = ingest.run(deposited(store, data), ports(store, 10**9, unit_bytes=2**40))
    assert outcome.output["verdict"] == whole.output["verdict"] == verdict
    assert outcome.findings == whole.findings
    assert outcome.files == whole.files
    assert outcome.archive == whole.archive
    assert runs >= (3 if looks == 1000 else 4)


def test_a_prefix_is_divided_too() -> None:
    store = MemoryStore()
    for path, data in SOUND.items():
        store.put("perdura-sips", f"s/{path}", data)
    prefix = StoredPrefix(store, "perdura-sips", "s/")
    assert verify(prefix).verdict == "warnings"
    sip = Package(UUID(int=3), PackageKind.SIP, "perdura-sips", "s/", "prefix", sum(map(len, SOUND.values())))
    archive = ArchiveView(ARCHIVE, StepView(STEP, "ingest", 1), packages=(sip,))
    outcome, runs = work(archive, store, 2)
    assert (outcome.output["verdict"], runs >= 3) == ("warnings", True)


def test_a_tar_gz_is_verified_in_one_go() -> None:
    store = MemoryStore()
    outcome, runs = work(deposited(store, as_archive(SOUND, "tar.gz")), store, 1)
    assert (outcome.output["verdict"], runs) == ("warnings", 0)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("announced", [True, False])
def test_what_a_slow_store_leaves_no_time_for_is_divided_whatever_its_size(kind: str, announced: bool) -> None:
    store, data = MemoryStore(), as_archive(SOUND, kind)
    told = {"expected_sha256": hashlib.sha256(data).hexdigest()} if announced else {}
    outcome, runs = work(deposited(store, data, **told), store, 1, unit_bytes=2**40)
    assert (outcome.output["verdict"], runs > 2) == ("warnings", True)
    whole = ingest.run(deposited(store, data), ports(store, 10**9, unit_bytes=2**40))
    assert outcome.files == whole.files


def test_a_stream_that_there_is_no_time_for_is_left_to_a_person() -> None:
    store, data = MemoryStore(), as_archive(SOUND, "tar.gz")
    with pytest.raises(Broken) as caught:
        ingest.run(deposited(store, data, expected_sha256=hashlib.sha256(data).hexdigest()), ports(store, 0))
    assert caught.value.code == "invocation-too-short"


def test_what_is_refused_anyway_needs_no_time_for_its_announced_checksum() -> None:
    store, data = MemoryStore(), b"\xfd7zXZ\x00" + bytes(3 * 2**20)
    outcome = ingest.run(deposited(store, data, expected_sha256="0" * 64), ports(store, 1))
    assert outcome.error_code == "container-compression"


@pytest.mark.parametrize("is_right", [True, False])
def test_the_announced_checksum_is_a_unit_of_its_own(is_right: bool) -> None:
    store, data = MemoryStore(), as_archive(SOUND, "tar")
    announced = hashlib.sha256(data).hexdigest() if is_right else "0" * 64
    outcome, _ = work(deposited(store, data, expected_sha256=announced, expected_size=len(data)), store, 2)
    assert outcome.error_code == (None if is_right else "checksum-not-as-announced")


def test_no_package_is_refused_for_a_continued_digest_that_was_read_once() -> None:
    store, data = MemoryStore(), as_archive(SOUND, "tar")
    _, once = work(deposited(store, data, expected_sha256=hashlib.sha256(data).hexdigest().upper()), store, 1)
    outcome, runs = work(deposited(store, data, expected_sha256="0" * 64), store, 1)
    assert outcome.error_code == "checksum-not-as-announced"
    assert runs == once + 2, "the whole object was read twice, in two invocations each"


def test_a_container_fault_found_by_a_unit_rejects_the_package() -> None:
    store = MemoryStore()
    data = bytearray(as_archive(SOUND, "zip"))
    data[data.index(PAYLOAD["data/b/07.txt"])] ^= 1
    outcome, _ = work(deposited(store, bytes(data)), store, 1000)
    assert (outcome.error_code, outcome.output["verdict"]) == ("member-checksum", "rejected")


def test_a_mismatch_that_rests_on_a_continued_digest_is_read_again() -> None:
    store, data = MemoryStore(), as_archive(CORRUPT, "tar")
    outcome, runs = work(deposited(store, data), store, 1)
    _, once = work(deposited(store, as_archive(SOUND, "tar")), store, 1)
    assert outcome.error_code == "checksum-mismatch"
    assert runs == once + 2, "the long file was read twice, in two invocations each"


def test_a_damaged_state_of_a_digest_is_noticed() -> None:
    store = MemoryStore()
    archive = deposited(store, as_archive(SOUND, "tar"))
    planned = ingest.run(archive, ports(store, 1))
    archive = replace(archive, step=replace(archive.step, checkpoint=dict(planned.checkpoint or {})))
    unit = next(unit for unit in planned.units if unit.checkpoint["long"])
    first = ingest_units.run(archive, unit, ports(store, 0))
    states = {name: "AAAA" + state[4:] for name, state in first.checkpoint["states"].items()}
    with pytest.raises(Broken):
        ingest_units.run(archive, WorkUnit(unit.key, {**first.checkpoint, "states": states}), ports(store, 0))


def test_units_that_nobody_works_on_are_asked_for_again() -> None:
    store = MemoryStore()
    archive = deposited(store, as_archive(SOUND, "tar"))
    planned = ingest.run(archive, ports(store, 1))
    units = {
        unit.key: UnitView("queued", unit.checkpoint, {}, is_lost=number == 1)
        for number, unit in enumerate(planned.units)
    }
    step = replace(archive.step, checkpoint=dict(planned.checkpoint or {}), units=units)
    again = ingest.run(replace(archive, step=step), ports(store, 1))
    assert again.state is StepState.WAITING
    assert [fact.data["unit"] for fact in again.facts] == [planned.units[1].key]


class TestWithoutResumableDigests:
    """Where libcrypto has no low-level digests a file is read in one go, or a person is asked."""

    @pytest.fixture(autouse=True)
    def _none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resumable, "available", lambda _: False)

    def test_a_file_that_fits_is_verified(self) -> None:
        store = MemoryStore()
        outcome, _ = work(deposited(store, as_archive(SOUND, "tar")), store, 1000)
        assert outcome.output["verdict"] == "warnings"

    def test_a_file_that_does_not_fit_is_said_so(self) -> None:
        data = memoryview(bytes(1024))
        with pytest.raises(Broken, match="too long to be verified within one invocation"):
            long_digest.continued(
                lambda _: iter([data[:512], data[512:]]), 1024, ("sha256",), long_digest.START,
                Deadline(0).near, lambda _: None,
            )  # fmt: skip


@pytest.mark.parametrize("size", [100, 3_000])
def test_a_digest_is_put_down_wherever_the_chunks_end(size: int) -> None:
    data = _CHANCE.randbytes(10_007)

    def read(offset: int) -> Any:
        first = [data[offset : offset + 77]] if offset == 0 else []
        start = offset + sum(map(len, first))
        return iter([*first, *(data[at : at + size] for at in range(start, len(data), size))])

    state, invocations = long_digest.START, 0
    while state.digests is None:
        state = long_digest.continued(read, len(data), ("sha256", "sha512"), state, Deadline(2).near, lambda _: None)
        invocations += 1
    assert invocations > 1
    assert state.digests["sha256"] == hashlib.sha256(data).digest()


def test_a_large_deposit_is_copied_in_parts_over_several_invocations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_custody, "ONE_REQUEST_COPY", 2**20)
    monkeypatch.setattr(uploads, "_COPY_PART", 2**19)
    monkeypatch.setattr(uploads, "part_size", lambda _: 2**19)
    store, data = MemoryStore(), as_archive(SOUND, "tar")
    archive = deposited(store, data, expected_sha256=hashlib.sha256(data).hexdigest())
    copying = []
    while True:
        outcome = ingest.run(archive, ports(store, 3, unit_bytes=2**40))
        if outcome.state is not StepState.QUEUED:
            break
        copying.append(outcome.checkpoint["copy"]["parts"])
        archive = replace(archive, step=replace(archive.step, checkpoint=dict(outcome.checkpoint)))
    assert copying == [3, 6]
    assert store.read(store.head("perdura-sips", f"{ARCHIVE}/sip").ref) == data


@pytest.mark.parametrize("unit_bytes", [2**40, 20_000])
def test_a_name_that_promises_another_archive_is_told_of(unit_bytes: int) -> None:
    for kind, name, told in (("tar", "bag.zip", True), ("tar", "bag.tar", False), ("zip", "bag.tar.gz", True)):
        store = MemoryStore()
        outcome, _ = work(deposited(store, as_archive(SOUND, kind), filename=name), store, 10**6, unit_bytes)
        assert ("container-name" in {finding.code for finding in outcome.findings}) is told


def test_the_version_that_was_notified_is_the_one_that_is_kept() -> None:
    store = MemoryStore()
    first = store.put("perdura-incoming", "b.tar", as_archive(SOUND, "tar")).info.ref
    store.put("perdura-incoming", "b.tar", b"stored later")
    told = {"bucket": first.bucket, "key": first.key, "version_id": first.version_id, "etag": first.etag}
    archive = ArchiveView(ARCHIVE, StepView(STEP, "ingest", 1, told), title="x")
    outcome = ingest.run(archive, ports(store, 10**9, unit_bytes=2**40))
    assert outcome.output["verdict"] == "warnings"


def test_an_object_replaced_between_invocations_is_noticed() -> None:
    store = MemoryStore()
    info = store.put("b", "k", as_archive(SOUND, "tar")).info
    source = StoredObject(store, info.ref, info.size)
    store.put("b", "k", b"other")
    pinned = replace(info.ref, version_id=None)
    with pytest.raises(ObjectChanged):
        verify(StoredObject(store, pinned, source.size))
