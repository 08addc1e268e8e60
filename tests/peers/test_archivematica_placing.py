"""SIPs on their way to a transfer source: large ones over many invocations, and those below a prefix."""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from perdura.errors import StoreUnavailable
from perdura.outcome import StepState
from perdura.steps import preserve_archivematica_copy
from perdura.steps.preserve_archivematica_copy import KEY
from perdura.storage import memory_uploads, uploads
from tests.peers.archivematica.driver import Case, zipped_bag
from tests.peers.test_archivematica_driver import Scene

PART = 64 * 1024


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects count as large from 64 KiB on."""
    monkeypatch.setattr(preserve_archivematica_copy, "AT_ONCE", PART)
    monkeypatch.setattr(uploads, "_COPY_PART", PART)
    monkeypatch.setattr(uploads, "part_size", lambda _: PART)


class OnePart:
    """Time for one request of a copy in each invocation."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.begun = scene, copies(scene)

    def near(self) -> bool:
        return copies(self.scene) > self.begun


def copies(scene: Scene) -> int:
    return scene.store.copied  # type: ignore[attr-defined, no-any-return]


def counting(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the requests by which bytes are copied within the store."""
    scene.store.copied = 0  # type: ignore[attr-defined]
    part, whole = scene.store.uploads.copy_part, scene.store.copy

    def copy_part(*given: Any) -> None:
        scene.store.copied += 1  # type: ignore[attr-defined]
        part(*given)

    def copy(*given: Any) -> Any:
        scene.store.copied += 1  # type: ignore[attr-defined]
        return whole(*given)

    monkeypatch.setattr(scene.store.uploads, "copy_part", copy_part)
    monkeypatch.setattr(scene.store, "copy", copy)
    scene.driver.deadline = lambda: OnePart(scene)


def large(scene: Scene) -> Case:
    return scene.driver.add(1, {"large.bin": random.Random(1).randbytes(10 * PART)})


def below_a_prefix(scene: Scene, number: int, base: str) -> Case:
    """A deposit whose SIP lies below a prefix, within a top folder or not."""
    case = scene.driver.add(number)
    files = {"a.txt": b"%d" % number, "b/c.txt": b"same"}
    with zipfile.ZipFile(io.BytesIO(zipped_bag(files))) as packed:
        for name in packed.namelist():
            member = base + name.removeprefix("bag/")
            scene.store.put("perdura-sips", f"{case.view.id}/sip/{member}", packed.read(name))
    (sip,) = case.view.packages
    sip = replace(sip, key=f"{case.view.id}/sip/", container="prefix", etag=None, version_id=None)
    case.view = replace(case.view, packages=(sip,))
    return case


@pytest.mark.usefixtures("_small_parts")
def test_a_large_sip_is_placed_over_many_invocations_each_part_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    case = large(scene)
    counting(scene, monkeypatch)
    (sip,) = case.view.packages
    scene.driver.tick()
    assert case.state is StepState.QUEUED
    assert case.view.step.checkpoint[KEY]["upload"]
    for _ in range(3):
        scene.driver.tick()
    assert not list(scene.store.list("sips-one", "")), "nothing is seen of it before it is whole"
    scene.driver.run(60, tick=1)
    assert len(scene.pipeline.started) == 1
    assert copies(scene) == -(-sip.size // PART)
    assert not scene.store.uploads._parts
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED


@pytest.mark.usefixtures("_small_parts")
def test_an_upload_that_the_store_gave_up_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    large(scene)
    counting(scene, monkeypatch)
    for _ in range(4):
        scene.driver.tick()
    scene.store.uploads._parts.clear()
    scene.driver.run(60, tick=1)
    assert len(scene.pipeline.started) == 1


@pytest.mark.usefixtures("_small_parts")
def test_an_upload_that_a_worker_completed_before_it_died_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    case = large(scene)
    counting(scene, monkeypatch)
    complete = memory_uploads.MemoryUploads.complete

    def dies(*given: Any) -> Any:
        monkeypatch.setattr(memory_uploads.MemoryUploads, "complete", complete)
        complete(*given)
        raise StoreUnavailable("the worker is gone")

    monkeypatch.setattr(memory_uploads.MemoryUploads, "complete", dies)
    (sip,) = case.view.packages
    scene.driver.run(120, tick=1)
    assert len(scene.pipeline.started) == 1
    assert copies(scene) == -(-sip.size // PART)


@pytest.mark.usefixtures("_small_parts")
def test_what_was_begun_at_an_instance_that_is_refused_is_ended_there(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene("one", "two")
    case = large(scene)
    counting(scene, monkeypatch)
    for _ in range(3):
        scene.driver.tick()
    begun = case.view.step.checkpoint[KEY]["instance"]
    assert scene.store.uploads._parts
    bucket = f"sips-{begun}"
    part = scene.store.uploads.copy_part

    def forbidden(upload: Any, *given: Any) -> None:
        if upload.bucket == bucket:
            from perdura.errors import Broken

            raise Broken("no access", code="store-forbids")
        part(upload, *given)

    monkeypatch.setattr(scene.store.uploads, "copy_part", forbidden)
    scene.driver.run(60, tick=1)
    assert scene.pipelines[begun].started == []
    assert sum(scene.started().values()) == 1
    assert not scene.store.uploads._parts


@pytest.mark.parametrize("base", ["", "bag/"])
def test_a_sip_below_a_prefix_is_placed_without_its_top_folder_file_by_file(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene()
    case = below_a_prefix(scene, 1, base)
    counting(scene, monkeypatch)
    scene.driver.run(30, tick=1)
    assert len(scene.pipeline.started) == 1
    assert copies(scene) == 4
    scene.driver.deadline = Scene().driver.deadline
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED, case.outcome


def test_a_package_without_a_bag_is_refused_and_no_instance_blamed() -> None:
    scene = Scene("one", "two")
    cases = [below_a_prefix(scene, number, "bag/") for number in range(6)]
    for case in cases:
        scene.store.delete(scene.store.head("perdura-sips", f"{case.view.id}/sip/bag/bagit.txt").ref)
    scene.driver.run(60, tick=1)
    assert {case.state for case in cases} == {StepState.FAILED}
    assert not scene.driver.book.paused_until


def test_what_was_placed_at_an_instance_that_then_does_not_answer_is_removed_there() -> None:
    scene = Scene("one", "two")
    scene.fakes["one"].cannot_tell.add("processing-configuration")
    case = scene.driver.add(1)
    scene.driver.run(3600, tick=5)
    assert any("processing-configuration" in path for _, path in scene.fakes["one"].requests)
    assert case.state is StepState.COMPLETED, case.outcome
    assert list(scene.store.list("sips-one", "")) == []
