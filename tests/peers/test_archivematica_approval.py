"""Transfers of an Archivematica that begins none by itself: each waits for a person (archivematica.md 1.7)."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from perdura.outcome import StepState
from tests.peers.archivematica.driver import Case
from tests.peers.archivematica.pipeline import Plan
from tests.peers.archivematica.server import KEY
from tests.peers.test_archivematica_driver import Scene


def unpacked(scene: Scene) -> Case:
    """A deposit whose SIP lies file by file."""
    case = scene.driver.add(1)
    (sip,) = case.view.packages
    with zipfile.ZipFile(io.BytesIO(scene.store.read(scene.store.head(sip.bucket, sip.key).ref))) as packed:
        for name in packed.namelist():
            scene.store.put(sip.bucket, f"{case.view.id}/sip/{name.removeprefix('bag/')}", packed.read(name))
    lies = replace(sip, key=f"{case.view.id}/sip/", container="prefix", etag=None, version_id=None)
    case.view = replace(case.view, packages=(lies,))
    return case


def approve(scene: Scene) -> str:
    """A person approves the only transfer that waits for it, by the dashboard's API; gives the unit's id."""
    fake, headers = scene.fakes["one"], {"authorization": KEY}
    (waiting,) = json.loads(fake.answer("GET", "dashboard", "/api/transfer/unapproved", headers, b"")[2])["results"]
    told = urlencode({"type": waiting["type"], "directory": waiting["directory"]}).encode()
    status, _, answer = fake.answer("POST", "dashboard", "/api/transfer/approve/", headers, told)
    assert status == 200
    return str(json.loads(answer)["uuid"])


def test_a_transfer_that_waits_for_approval_is_shown_and_goes_on_when_it_is_approved() -> None:
    scene = Scene()
    scene.pipeline.approves = False
    case = scene.preserve(hours=1)
    assert case.state is StepState.WAITING
    assert case.outcome is not None
    (finding,) = case.outcome.findings
    assert finding.code == "decision-needed"
    unit = approve(scene)
    assert finding.message == (
        f"Archivematica waits for a decision: Approve zipped bagit transfer — http://dashboard/transfer/{unit}/"
    )
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == len(scene.pipeline.stored) == 1


def test_a_transfer_that_nobody_approves_is_blocked_and_goes_on_when_it_is_tried_again() -> None:
    scene = Scene()
    scene.pipeline.approves = False
    case = scene.preserve(hours=100)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "decision-overdue")
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.WAITING
    approve(scene)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == len(scene.pipeline.stored) == 1


def test_a_transfer_whose_answer_was_lost_is_found_where_it_waits_for_approval() -> None:
    scene = Scene()
    scene.pipeline.approves = False
    case = scene.preserve(Plan(post="reset-created"), hours=20)
    assert case.state is StepState.WAITING
    assert case.outcome is not None
    assert [finding.code for finding in case.outcome.findings] == ["decision-needed"]
    approve(scene)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == 1


def test_a_directory_that_waits_for_approval_as_another_unit_is_found_and_followed() -> None:
    scene = Scene()
    scene.pipeline.approves = False
    case = unpacked(scene)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.WAITING
    assert case.outcome is not None
    (finding,) = case.outcome.findings
    assert "Approve bagit transfer" in finding.message
    unit = approve(scene)
    assert finding.message.endswith(f"/transfer/{unit}/")
    scene.driver.run(3600, tick=5)
    assert case.outcome is not None
    assert "file format identification" in case.outcome.findings[0].message
    scene.pipeline.decide(scene.pipeline.units[unit])
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.COMPLETED
    assert sum(scene.started().values()) == len(scene.pipeline.stored) == 1


@pytest.mark.parametrize("approved", [True, False])
def test_what_asks_a_person_after_a_lost_answer_is_blocked_in_time_and_never_sent_again(approved: bool) -> None:
    scene = Scene()
    scene.pipeline.approves = approved
    question = Plan(post="html-created", ingest="user-input") if approved else Plan(post="html-created")
    case = scene.preserve(question, hours=100)
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "decision-overdue")
    scene.driver.retry(case)
    scene.driver.run(3600, tick=5)
    assert case.state is StepState.WAITING
    assert sum(scene.started().values()) == 1
