"""An AIP is called flawed only for bytes that are all of it, and wrong: nothing else has a second one made."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from perdura.outcome import StepState
from perdura.packages import mets_read, pointer
from perdura.settings import Settings
from perdura.steps import preserve_takeover_history as history
from tests.peers.archivematica.driver import Case
from tests.peers.archivematica.pipeline import Plan
from tests.peers.archivematica.server import cut, page
from tests.peers.test_archivematica_driver import Scene, _taken
from tests.peers.test_takeover_on_disk import canary


def retried(scene: Scene, case: Case) -> None:
    """Nothing was said against it; trying again takes over the one there is."""
    assert case.state is StepState.BLOCKED, case.outcome
    assert case.outcome is not None
    assert case.outcome.events == ()
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    taken(scene, case)


def taken(scene: Scene, case: Case) -> None:
    assert case.state in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}, case.outcome
    assert sum(scene.started().values()) == 1
    assert len(scene.pipeline.stored) == 1


def _of_nothing(data: bytes) -> bytes:
    return data.replace(b"premis:object", b"premis:thing")


@pytest.mark.parametrize("spoil", [cut, page, lambda data: data[: data.rindex(b"<")], _of_nothing])
def test_a_pointer_file_that_cannot_be_read_is_asked_for_again(spoil: Callable[[bytes], bytes]) -> None:
    scene = Scene()
    scene.fakes["one"].spoiled["pointer_file"] = spoil
    case = scene.preserve(hours=1)
    assert scene.fakes["one"].spoiled == {}
    taken(scene, case)


@pytest.mark.parametrize("together", [5, 10_000])
@pytest.mark.parametrize("spoil", [cut, page])
def test_a_mets_that_is_extracted_and_cannot_be_read_is_asked_for_again(
    spoil: Callable[[bytes], bytes], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "TOGETHER", together)
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=None)
    scene.fakes["one"].spoiled["extract_file"] = spoil
    case = scene.preserve(Plan(store="closed"), hours=1)
    assert scene.fakes["one"].spoiled == {}
    taken(scene, case)


def test_a_mets_that_comes_otherwise_the_second_time_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "TOGETHER", 5)
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=None)

    def first(data: bytes) -> bytes:
        scene.fakes["one"].spoiled["extract_file"] = cut
        return data

    scene.fakes["one"].spoiled["extract_file"] = first
    case = scene.preserve(Plan(store="closed"), hours=1)
    taken(scene, case)
    assert case.outcome is not None
    assert len(scene.driver.events) == case.outcome.output["events"]


@pytest.mark.parametrize("spoil", [cut, page, lambda _: b""])
def test_a_tar_made_on_the_fly_that_was_cut_off_is_asked_for_again(spoil: Callable[[bytes], bytes]) -> None:
    scene = Scene(aip_bucket=None)
    scene.fakes["one"].spoiled["download"] = spoil
    case = scene.preserve(Plan(store="unpacked"), hours=1)
    assert scene.fakes["one"].spoiled == {}
    taken(scene, case)


def test_a_tar_made_on_the_fly_that_is_no_valid_bag_is_not_judged() -> None:
    scene = Scene(aip_bucket=None)
    scene.fakes["one"].spoiled["download"] = lambda data: cut(data) + bytes(1024)
    case = scene.preserve(Plan(store="unpacked"), hours=1)
    assert case.outcome is not None
    assert case.outcome.error_code == "aip-bag-invalid"
    retried(scene, case)


@pytest.mark.parametrize(
    ("module", "limit"), [(pointer, "LARGEST"), (mets_read, "LARGEST"), (mets_read, "LARGEST_SECTION")]
)
def test_what_is_larger_than_is_read_here_is_not_judged(
    module: object, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    with monkeypatch.context() as patched:
        patched.setattr(module, limit, -1)
        case = scene.preserve(hours=1)
    assert case.outcome is not None
    assert case.outcome.error_code == "mets-beyond-limits"
    retried(scene, case)


def _program(place: Path, unpacking: str, testing: str = "exit 0") -> str:
    """A 7-Zip that lists, and does that when it is to unpack or to test."""
    program = place / "7z"
    program.write_text(f'#!/bin/sh\ncase "$1" in l) echo "Size = 6";; t) {testing};; *) {unpacking};; esac\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


@pytest.mark.parametrize("unpacking", ["kill -9 $$", "exit 8", "exit 7", "exit 2"])
def test_a_7_zip_that_is_killed_or_has_no_memory_or_room_says_nothing_against_the_aip(
    unpacking: str, tmp_path: Path
) -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=_program(tmp_path, unpacking))
    outcome = _taken(scene, *canary(scene))
    assert (outcome.state, outcome.error_code, outcome.events) == (StepState.BLOCKED, "seven-zip-failed", ())


@pytest.mark.skipif(shutil.which("7z") is None, reason="7z is not installed")
def test_a_7z_is_damaged_when_7_zip_says_so_without_writing_anything() -> None:
    scene = Scene()
    scene.driver.settings = Settings(seven_zip=shutil.which("7z"))
    case, data, _, members = canary(scene)
    outcome = _taken(scene, case, data[:500] + bytes([data[500] ^ 1]) + data[501:], b"", members)
    assert (outcome.state, outcome.error_code) == (StepState.FAILED, "container-damaged")
