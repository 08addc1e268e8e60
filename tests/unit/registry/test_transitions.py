"""The transition table says what it should, and nothing can leave a final state."""

from __future__ import annotations

import pytest

from perdura.errors import Rejected
from perdura.outcome import StepState
from perdura.registry.transitions import (
    DEPOSIT_PIPELINE,
    FINAL_STEP_STATES,
    HARVEST_PIPELINE,
    STEP_TRANSITIONS,
    ArchiveState,
    archive_state_after,
    check_pipeline,
    expected_before,
    may_become,
)


def test_every_state_has_a_row() -> None:
    assert set(STEP_TRANSITIONS) == set(StepState)


@pytest.mark.parametrize("state", sorted(FINAL_STEP_STATES))
def test_a_final_state_is_final(state: StepState) -> None:
    assert STEP_TRANSITIONS[state] == frozenset()


def test_the_guard_of_an_update_is_the_table_read_backwards() -> None:
    for after in StepState:
        assert set(expected_before(after)) == {before for before in StepState if may_become(before, after)}


def test_a_killed_worker_can_be_replaced() -> None:
    assert may_become(StepState.RUNNING, StepState.RUNNING)


@pytest.mark.parametrize("pipeline", [DEPOSIT_PIPELINE, HARVEST_PIPELINE, ("ingest",)])
def test_possible_pipelines(pipeline: tuple[str, ...]) -> None:
    check_pipeline(pipeline)


@pytest.mark.parametrize(
    "pipeline",
    [
        (),
        ("preserve",),
        ("ingest", "archive"),
        ("ingest", "preserve", "ingest"),
        ("ingest", "bake"),
        ("ingest", "preserve", "archive", "publish", "archive"),
    ],
)
def test_impossible_pipelines(pipeline: tuple[str, ...]) -> None:
    with pytest.raises(Rejected):
        check_pipeline(pipeline)


@pytest.mark.parametrize(
    ("state", "last", "rejected", "warned", "expected"),
    [
        (StepState.COMPLETED, False, False, False, ArchiveState.RUNNING),
        (StepState.COMPLETED, True, False, False, ArchiveState.COMPLETED),
        (StepState.COMPLETED, True, False, True, ArchiveState.COMPLETED_WITH_WARNINGS),
        (StepState.COMPLETED_WITH_WARNINGS, True, False, False, ArchiveState.COMPLETED_WITH_WARNINGS),
        (StepState.FAILED, False, True, False, ArchiveState.REJECTED),
        (StepState.FAILED, True, False, False, ArchiveState.FAILED),
        (StepState.BLOCKED, False, False, False, ArchiveState.BLOCKED),
        (StepState.WAITING, False, False, False, ArchiveState.WAITING),
        (StepState.QUEUED, False, False, False, ArchiveState.RUNNING),
    ],
)
def test_the_state_of_an_archive_follows_its_step(
    state: StepState, last: bool, rejected: bool, warned: bool, expected: ArchiveState
) -> None:
    assert archive_state_after(state, last=last, rejected=rejected, warned_before=warned) is expected
