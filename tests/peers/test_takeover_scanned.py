"""A required virus scan is required of whoever makes the AIP."""

from __future__ import annotations

import pytest

from perdura.outcome import StepState
from perdura.settings import Settings
from tests.peers.archivematica import aip
from tests.peers.archivematica.driver import Case
from tests.peers.test_archivematica_driver import Scene

SCAN = "7e81f94e-6441-4430-a12d-76df09181b66"
YES, NO = "97be337c-ff27-4869-bf63-ef1abc9df15d", "63be6081-bee8-4cf5-a453-91893e31940f"


def preserved(policy: str, choices: dict[str, str] | None = None) -> tuple[Scene, Case]:
    scene = Scene()
    scene.driver.settings = Settings(virus_scan=policy, archivematica_patience_seconds=600)
    scene.pipeline.choices |= choices or {}
    return scene, scene.preserve(hours=1)


def without(monkeypatch: pytest.MonkeyPatch, outcome: str | None) -> None:
    """Have Archivematica tell another outcome of its virus checks, or nothing of them."""
    others = tuple(each for each in aip._EVENTS if each[0] != "virus check")
    told = () if outcome is None else (("virus check", 'program="ClamAV (clamd)"', outcome, ""),)
    monkeypatch.setattr(aip, "_EVENTS", (*others, *told))


def test_an_aip_that_tells_of_a_passed_scan_is_taken_over() -> None:
    _, case = preserved("required", {SCAN: YES})
    assert case.state is StepState.COMPLETED


@pytest.mark.parametrize("outcome", [None, "Fail", ""])
def test_an_aip_that_tells_of_no_passed_scan_is_not_taken_over(
    outcome: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, outcome)
    _, case = preserved("required")
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "aip-not-scanned")


@pytest.mark.parametrize("policy", ["preferred", "off"])
def test_what_is_not_required_keeps_no_aip_out(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, None)
    _, case = preserved(policy, {SCAN: NO})
    assert case.state is StepState.COMPLETED


def test_files_that_were_not_scanned_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def mets(*given: object) -> bytes:
        head, sign, rest = original(*given).partition(b"virus check")  # type: ignore[arg-type]
        return head + sign.replace(b"virus check", b"no check") + rest

    original = aip.mets
    monkeypatch.setattr(aip, "mets", mets)
    _, case = preserved("required")
    assert case.outcome is not None
    assert case.state is StepState.COMPLETED_WITH_WARNINGS
    assert [(each.code, each.path) for each in case.outcome.findings] == [("not-scanned", "data/objects/a.txt")]


def test_nothing_is_sent_under_a_configuration_that_leaves_the_scan_out() -> None:
    scene, case = preserved("required", {SCAN: NO})
    assert case.outcome is not None
    assert (case.state, case.outcome.error_code) == (StepState.BLOCKED, "configuration-without-scan")
    assert not scene.started()
