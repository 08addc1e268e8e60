"""States of recurring harvests: of a schedule, of a run, and of one item of a run."""

from __future__ import annotations

from enum import StrEnum


class ScheduleState(StrEnum):
    """States of a schedule. One that is retired keeps its history and never runs again."""

    ACTIVE = "active"
    PAUSED = "paused"
    RETIRED = "retired"


class RunState(StrEnum):
    """States of a run."""

    LISTING = "listing"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    COMPLETED_WITH_FAILURES = "completed_with_failures"


class ItemState(StrEnum):
    """What became of one listed record.

    `waiting`: its files are closed or under embargo; its Archive goes on when they open, the run does not wait for it.
    """

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_RUNS = frozenset({RunState.LISTING, RunState.RUNNING, RunState.PAUSED})
"""States of a run that may still do something."""
