"""AIPs that have to be brought to local disk: by their size, within the time there is, else compared as a whole."""

from __future__ import annotations

import bz2
import gzip
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdura.clients import seven_zip
from perdura.errors import Rejected
from perdura.outcome import Outcome, StepState
from perdura.packages.bzip2_stream import decompressed
from perdura.settings import Settings
from perdura.storage.timed import TimeUp
from tests.peers.archivematica import aip
from tests.peers.archivematica.driver import Case
from tests.peers.test_archivematica_driver import CANARY, SAMPLES, Scene, _taken


class Soon:
    """Time is up after so many looks."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def near(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@pytest.fixture
def sleeper(tmp_path: Path) -> str:
    """A 7-Zip that lists at once and unpacks for ever."""
    program = tmp_path / "7z"
    program.write_text('#!/bin/sh\nif [ "$1" = l ]; then echo "Size = 6"; else exec sleep 60; fi\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def canary(scene: Scene) -> tuple[Case, bytes, bytes, dict[str, bytes]]:
    case = scene.driver.add(1, {"hello.txt": b"hello\n"})
    members = {f"data/METS.{CANARY}.xml": (SAMPLES / f"METS.{CANARY}.xml").read_bytes()}
    data, pointer = (SAMPLES / f"canary-{CANARY}.7z").read_bytes(), (SAMPLES / f"pointer.{CANARY}.xml").read_bytes()
    return case, data, pointer, members


def test_a_7z_that_no_invocation_has_the_time_for_is_taken_over_as_it_is(sleeper: str) -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=sleeper)
    case, data, pointer, members = canary(scene)
    scene.driver.deadline = lambda: Soon(12)
    outcomes: list[Outcome] = []
    while not outcomes or outcomes[-1].state is StepState.QUEUED:
        outcomes.append(_taken(scene, case, data, pointer, members))
        scene.driver._close(case, outcomes[-1])
    assert case.view.step.checkpoint["takeover"]["closed"]
    assert outcomes[-1].state is StepState.COMPLETED_WITH_WARNINGS
    assert [finding.code for finding in outcomes[-1].findings] == ["inside-not-verified"]


def test_a_7_zip_that_hangs_is_given_time_by_size_and_then_done_without(
    sleeper: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seven_zip, "SECONDS", 1)
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=sleeper)
    outcome = _taken(scene, *canary(scene))
    assert [finding.code for finding in outcome.findings] == ["inside-not-verified"]


def test_7_zip_has_as_long_as_the_invocation_and_is_stopped_when_that_ends(sleeper: str, tmp_path: Path) -> None:
    archive = tmp_path / "a.7z"
    archive.write_bytes(b"7z")
    with pytest.raises(TimeUp):
        seven_zip.unpack(sleeper, archive, tmp_path, 100, Soon(3).near)


def test_a_7z_without_room_to_unpack_it_is_taken_over_as_it_is() -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=shutil.which("7z"), scratch_bytes=8000)
    outcome = _taken(scene, *canary(scene))
    assert outcome.state is StepState.COMPLETED_WITH_WARNINGS, outcome.message
    assert [finding.code for finding in outcome.findings] == ["inside-not-verified"]


@pytest.mark.parametrize("damage", ["none", "bag", "stream"])
def test_a_tar_bz2_is_opened_and_its_bag_judged(damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(base: str, members: dict[str, bytes], at: object) -> bytes:
        if damage == "bag":
            path = next(each for each in members if each.startswith("data/objects/"))
            members = {**members, path: members[path] + b"!"}
        tar = gzip.decompress(original(base, members, at))  # type: ignore[arg-type]
        half = len(tar) // 2
        data = bz2.compress(tar[:half]) + bz2.compress(tar[half:])
        return data[:-30] if damage == "stream" else data

    original = aip._packed
    monkeypatch.setattr(aip, "_packed", packed)
    make = aip.make

    def named(*given: object) -> aip.Made:
        made = make(*given)  # type: ignore[arg-type]
        return aip.Made(made.name.replace(".tar.gz", ".tar.bz2"), made.data, made.pointer, made.members)

    monkeypatch.setattr(aip, "make", named)
    scene = Scene()
    case = scene.preserve(hours=1)
    assert case.outcome is not None
    if damage == "none":
        assert case.state is StepState.COMPLETED, case.outcome.message
        assert case.outcome.packages[0].container == "tar.bz2"
        return
    assert case.state is StepState.FAILED
    assert case.outcome.error_code == ("aip-bag-invalid" if damage == "bag" else "container-damaged")


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_bzip2_of_several_streams_is_read_in_pieces_of_any_size(size: int) -> None:
    whole = bytes(300_000) + b"end"
    data = bz2.compress(whole) + bz2.compress(b"more")
    assert b"".join(decompressed(pieces(data, size))) == whole + b"more"
    assert max(map(len, decompressed(pieces(bz2.compress(bytes(5 * 2**20)), size)))) <= 2**20


@pytest.mark.parametrize("data", [bz2.compress(b"x" * 1000)[:-5], b"no bzip2", bz2.compress(b"x") + b"rest"])
def test_damaged_bzip2_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected):
        b"".join(decompressed([data]))
