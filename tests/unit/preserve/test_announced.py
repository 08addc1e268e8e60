"""AIPs that another platform made: taken over as they are, or refused by name with the SIP still there.

The AIP is one that a real Archivematica made.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path
from shutil import which
from typing import Any
from uuid import UUID

import pytest

from perdura.outcome import ArchiveView, Outcome, PackageKind, StepState
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.shared_data import reference_data
from tests.unit.preserve.fakes import ports
from tests.unit.preserve.submissions import bag, deposit, zipped

AIP = UUID("e342835e-b3ba-4d07-a70d-4bb727ad1a91")
NAME = f"canary-{AIP}"
KEY = f"e342/835e/{NAME}"


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the AIP, by path."""
    sample = reference_data("archivematica", "samples", f"{NAME}.7z")
    program = which("7z")
    if program is None:
        pytest.skip("7z is not installed")
    folder = tmp_path_factory.mktemp("aip")
    subprocess.run([program, "x", "-y", f"-o{folder}", str(sample)], check=True, capture_output=True)
    root = folder / NAME
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def packed(members: dict[str, bytes], mode: str = "w") -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode=mode) as tar:  # type: ignore[call-overload]
        for path, body in members.items():
            info = tarfile.TarInfo(f"{NAME}/{path}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return plain.getvalue()


def announced(store: MemoryStore, key: str = KEY, files: dict[str, bytes] | None = None) -> ArchiveView:
    """An Archive whose SIP was accepted and whose AIP is said to lie at `key`."""
    archive = deposit(store, zipped(bag(files or {"data/a.txt": b"hello\n"})))
    told = {"take_over": {"bucket": "theirs", "key": key}}
    return replace(archive, step=replace(archive.step, input=told))


def to_the_end(archive: ArchiveView, store: MemoryStore, **more: Any) -> tuple[Outcome, int]:
    for count in range(1, 100):
        outcome = run(archive, ports(store, **more))
        if outcome.state is not StepState.QUEUED:
            return outcome, count
        archive = replace(archive, step=replace(archive.step, checkpoint=outcome.checkpoint or {}))
    raise AssertionError("it does not end")


def content(members: dict[str, bytes]) -> dict[str, bytes]:
    return {"data/a.txt": members["data/objects/a.txt"]}


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_a_packed_aip_is_kept_as_it_is_and_verified(members: dict[str, bytes], suffix: str, mode: str) -> None:
    store, whole = MemoryStore(), packed(members, mode)
    store.put("theirs", KEY + suffix, whole)
    archive = announced(store, KEY + suffix, content(members))
    outcome, _ = to_the_end(archive, store)
    assert outcome.state is StepState.COMPLETED, outcome.message
    (package,) = outcome.packages
    assert (package.id, package.kind, package.bucket) == (AIP, PackageKind.AIP, "perdura-aips")
    assert package.checksums["sha256"] == hashlib.sha256(whole).hexdigest()
    assert store.read(store.head(package.bucket, package.key).ref) == whole
    assert store.read(store.head("theirs", KEY + suffix).ref) == whole
    (copy,) = outcome.copies
    assert (copy.package_id, copy.uri) == (AIP, f"s3://{package.bucket}/{package.key}")
    assert {event.type for event in outcome.events} == {"validation", "accession"}
    assert {"ingestion", "message digest calculation"} <= {event.type for event in outcome.told_events}
    assert "data/objects/a.txt" in {file.path for file in outcome.files[0][1]}


def test_an_unpacked_aip_is_copied_file_by_file(members: dict[str, bytes]) -> None:
    store = MemoryStore()
    for path, body in members.items():
        store.put("theirs", f"{KEY}/{path}", body)
    archive = announced(store, f"{KEY}/", content(members))
    outcome, _ = to_the_end(archive, store)
    assert outcome.state is StepState.COMPLETED, outcome.message
    (package,) = outcome.packages
    assert (package.container, package.size) == ("prefix", sum(map(len, members.values())))
    kept = {info.ref.key.removeprefix(package.key) for info in store.list(package.bucket, package.key)}
    assert kept == set(members)


class Short:
    """Time is up after it was asked for so many times."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def near(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@pytest.mark.parametrize("unpacked", [True, False])
def test_what_one_invocation_does_not_finish_the_next_goes_on_with(members: dict[str, bytes], unpacked: bool) -> None:
    store = MemoryStore()
    key = KEY if unpacked else f"{KEY}.tar"
    if unpacked:
        for path, body in members.items():
            store.put("theirs", f"{key}/{path}", body)
    else:
        store.put("theirs", key, packed(members))
    archive = announced(store, key, content(members))
    for looks in (0, 6, 1000):
        outcome = run(archive, ports(store, deadline=Short(looks)))
        if looks < 1000:
            assert outcome.state is StepState.QUEUED
            archive = replace(archive, step=replace(archive.step, checkpoint=outcome.checkpoint or {}))
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert outcome.packages[0].size == (sum(map(len, members.values())) if unpacked else len(packed(members)))


def _broken(members: dict[str, bytes]) -> dict[str, bytes]:
    return {**members, "data/objects/a.txt": b"HELLO\n"}


@pytest.mark.parametrize(
    ("key", "made", "code"),
    [
        (f"{KEY}.tar", lambda _: None, "aip-missing"),
        (f"{KEY}.tar", lambda members: packed(_broken(members)), "aip-bag-invalid"),
        (f"{KEY}.tar", lambda members: packed(members)[:4000], "aip-bag-invalid"),
        (f"{KEY}.tar", lambda _: b"", "aip-size"),
        (f"{KEY}", lambda members: packed(members), "aip-not-opened"),
        (f"{KEY.replace('e342835e', '00000000')}.tar", lambda members: packed(members), "aip-without-mets"),
    ],
)
def test_an_aip_that_is_not_what_it_must_be_fails_by_name_and_is_left_where_it_is(
    members: dict[str, bytes], key: str, made: Any, code: str
) -> None:
    store = MemoryStore()
    if (data := made(members)) is not None:
        store.put("theirs", key, data)
    outcome, _ = to_the_end(announced(store, key, content(members)), store)
    assert (outcome.state, outcome.error_code, outcome.packages) == (StepState.FAILED, code, ())
    assert "choose an engine" in str(outcome.message)
    assert {event.outcomes[0].outcome for event in outcome.events} == {"fail"}
    assert data is None or store.read(store.head("theirs", key).ref) == data


def test_nothing_is_said_against_an_aip_that_no_program_here_can_open(members: dict[str, bytes]) -> None:
    store = MemoryStore()
    store.put("theirs", f"{KEY}.7z", b"7z")
    outcome, _ = to_the_end(announced(store, f"{KEY}.7z", content(members)), store)
    assert (outcome.state, outcome.error_code, outcome.events) == (StepState.BLOCKED, "aip-not-opened", ())
    assert "choose an engine" in str(outcome.message)


def test_an_aip_without_the_content_of_the_sip_is_not_taken_over(members: dict[str, bytes]) -> None:
    store = MemoryStore()
    store.put("theirs", f"{KEY}.tar", packed(members))
    outcome, _ = to_the_end(announced(store, f"{KEY}.tar", {"data/other.txt": b"not in it"}), store)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "file-lost")


def test_the_sip_is_preserved_when_an_engine_is_chosen_after_all(members: dict[str, bytes]) -> None:
    store = MemoryStore()
    archive = announced(store, f"{KEY}.tar", content(members))
    assert run(archive, ports(store)).error_code == "aip-missing"
    outcome = run(archive, ports(store, extras={"wish": {"engine": "builtin"}}))
    assert outcome.state in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}
    assert outcome.packages[0].id != AIP


def test_a_7z_is_opened_where_the_program_is_configured(members: dict[str, bytes]) -> None:
    store = MemoryStore()
    sample = Path(reference_data("archivematica", "samples", f"{NAME}.7z")).read_bytes()
    store.put("theirs", f"{KEY}.7z", sample)
    given = ports(store)
    settings = given.settings.model_copy(update={"seven_zip": which("7z")})
    outcome = run(announced(store, f"{KEY}.7z", content(members)), replace(given, settings=settings))
    assert outcome.state is StepState.COMPLETED, outcome.message
    assert outcome.packages[0].container == "7z"


def unscanned(members: dict[str, bytes]) -> dict[str, bytes]:
    """The AIP as if nobody had looked for viruses, its bag valid."""
    path = f"data/METS.{AIP}.xml"
    changed = {path: members[path].replace(b">virus check<", b">virus chess<")}
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        text = members[name]
        for each, body in changed.items():
            old, new = (hashlib.sha256(data).hexdigest().encode() for data in (members[each], body))
            text = text.replace(old, new)
        changed[name] = text
    return members | changed


def test_a_required_virus_scan_is_required_of_whoever_made_the_aip(members: dict[str, bytes]) -> None:
    for files, policy, code in (
        (members, "required", None),
        (unscanned(members), "preferred", None),
        (unscanned(members), "required", "aip-not-scanned"),
    ):
        store = MemoryStore()
        store.put("theirs", f"{KEY}.tar", packed(files))
        outcome, _ = to_the_end(announced(store, f"{KEY}.tar", content(members)), store, virus_scan=policy)
        assert (outcome.error_code, outcome.state) == (code, StepState.BLOCKED if code else StepState.COMPLETED)
        assert bool(outcome.events) == (code is None)
