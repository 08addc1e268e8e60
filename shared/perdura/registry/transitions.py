"""The transition table: which state may follow which, which step may follow which, what an Archive's state is."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from perdura.errors import Rejected
from perdura.outcome import StepState


class ArchiveState(StrEnum):
    """States of an Archive: those of its steps as a whole, and `rejected` for a SIP that was not accepted."""

    AWAITING_UPLOAD = "awaiting_upload"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    COMPLETED_WITH_WARNINGS = "completed_with_warnings"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


FINAL_STEP_STATES = frozenset(
    {
        StepState.COMPLETED,
        StepState.COMPLETED_WITH_WARNINGS,
        StepState.FAILED,
        StepState.CANCELLED,
    }
)

STEP_TRANSITIONS: dict[StepState, frozenset[StepState]] = {
    StepState.QUEUED: frozenset({StepState.RUNNING, StepState.CANCELLED, StepState.BLOCKED}),
    # running → running: a worker took over from one that was killed.
    StepState.RUNNING: frozenset(StepState),
    # waiting → running: the outside system is looked at again by running the step, where nothing polls in bulk.
    # waiting → queued: a look in bulk found that there is work to do, which is asked for as a run of its own.
    StepState.WAITING: frozenset(StepState),
    StepState.BLOCKED: frozenset({StepState.CANCELLED}),
    StepState.COMPLETED: frozenset(),
    StepState.COMPLETED_WITH_WARNINGS: frozenset(),
    StepState.FAILED: frozenset(),
    StepState.CANCELLED: frozenset(),
}
"""Allowed transitions of one step. A retry is a new step with the next attempt number, never a way back."""

FOLLOWERS: dict[str, frozenset[str]] = {
    "harvest": frozenset({"ingest"}),
    "ingest": frozenset({"preserve"}),
    "preserve": frozenset({"archive", "publish", "notify"}),
    "archive": frozenset({"publish", "notify"}),
    "publish": frozenset({"archive", "notify"}),
    "notify": frozenset(),
}
"""Which step may directly follow which in a pipeline."""

ERRAND_POSITION = 1000
"""Positions of errands begin here, behind those of any pipeline.

Errands are steps that are asked for beside a pipeline (`recall`, `verify`, `notify`, `withdraw`, `publish` once more):
what becomes of them does not change the state of the Archive.
"""

FIRST_STEPS = frozenset({"harvest", "ingest"})

DEPOSIT_PIPELINE = ("ingest", "preserve", "archive", "publish")
HARVEST_PIPELINE = ("harvest", "ingest", "preserve", "archive", "publish")


def may_become(present: StepState, next_state: StepState) -> bool:
    """Whether a step in one state may be put into another."""
    return next_state in STEP_TRANSITIONS[present]


def expected_before(next_state: StepState) -> tuple[StepState, ...]:
    """The states from which a step may be put into `next_state`: the guard of the row update."""
    return tuple(state for state in StepState if may_become(state, next_state))


def check_pipeline(steps: Sequence[str]) -> None:
    """Raise Rejected unless the steps form a pipeline that the transition table allows."""
    if not steps:
        raise Rejected("A pipeline needs at least one step.", code="empty-pipeline")
    if steps[0] not in FIRST_STEPS:
        raise Rejected(f"A pipeline cannot begin with {steps[0]!r}.", code="impossible-pipeline")
    for before, after in pairwise(steps):
        if after not in FOLLOWERS.get(before, frozenset()):
            raise Rejected(f"{after!r} cannot follow {before!r}.", code="impossible-pipeline")
    if len(set(steps)) != len(steps):
        raise Rejected("A pipeline names a step twice.", code="impossible-pipeline")


def archive_state_after(step_state: StepState, *, last: bool, rejected: bool, warned_before: bool) -> ArchiveState:
    """The state of an Archive after one of its steps reached `step_state`."""
    match step_state:
        case StepState.FAILED:
            return ArchiveState.REJECTED if rejected else ArchiveState.FAILED
        case StepState.BLOCKED:
            return ArchiveState.BLOCKED
        case StepState.WAITING:
            return ArchiveState.WAITING
        case StepState.CANCELLED:
            return ArchiveState.CANCELLED
        case StepState.COMPLETED | StepState.COMPLETED_WITH_WARNINGS if last:
            warned = warned_before or step_state is StepState.COMPLETED_WITH_WARNINGS
            return ArchiveState.COMPLETED_WITH_WARNINGS if warned else ArchiveState.COMPLETED
        case _:
            return ArchiveState.RUNNING
