"""Recurring harvests as decisions: which window is next, how it is cut, what of it is new, how many may run.

Nothing here reads or writes: the registry keeps schedules, runs and items, `sources.listing` asks the upstream. The
cursor of a schedule moves only when a window is listed to its end and every record of it is queued, so a window is
never lost; windows overlap, and an item that is known under its revision is not harvested again (harvesting.md 3.2,
cern-oais-platform.md 23).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from perdura.errors import Rejected
from perdura.registry.run_states import OPEN_RUNS, ItemState, RunState

WINDOW_HITS = 10_000
"""Hits that a search shows of one query."""

OVERLAP = timedelta(minutes=10)
"""How far a window reaches back into the one before: clocks differ, indices lag."""

GRACE = timedelta(minutes=5)
"""How far the end of a window stays behind the present."""

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Records changed (or created) from `start` on and before `end`; `start` None means from the beginning.

    `ids` narrows a window of one second that still has too many hits: the record ids from the first to the second,
    in the order of their text, the second excluded, None where open.
    """

    start: datetime | None
    end: datetime
    ids: tuple[str | None, str | None] = (None, None)


class Verdict(StrEnum):
    """What to do with one listed item."""

    HARVEST = "harvest"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    IN_WORK = "in_work"


@dataclass(frozen=True, slots=True)
class Item:
    """One listed record: its id, its revision (or datestamp; empty where the upstream tells none)."""

    recid: str
    revision: str
    title: str | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry knows of a record: the revisions it was last harvested under (its own, and that of the
    listing), and the one being harvested now."""

    harvested: tuple[str, ...] = ()
    in_work: str | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Items of a run by what became of them."""

    queued: int = 0
    running: int = 0
    waiting: int = 0
    done: int = 0
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    cancelled: int = 0

    @classmethod
    def of(cls, numbers: Mapping[ItemState, int]) -> Counts:
        """Counts from numbers by state."""
        return cls(**{str(state): number for state, number in numbers.items()})

    @property
    def finished(self) -> int:
        """Items that the run has done with."""
        return self.waiting + self.done + self.unchanged + self.deleted + self.failed + self.cancelled

    @property
    def harvested(self) -> int:
        """Items that an Archive was made for."""
        return self.running + self.waiting + self.done + self.failed


@dataclass(frozen=True, slots=True)
class Limits:
    """How a run may behave: items at the same time, items in all, and the failures that stop it.

    A run pauses when at least `failures_at_least` items failed and they are more than `failure_share` of the finished;
    failures that a person has `forgiven` do not count.
    """

    concurrency: int = 4
    records: int | None = None
    failures_at_least: int = 10
    failure_share: float = 0.25
    forgiven: int = 0


@dataclass(frozen=True, slots=True)
class Advance:
    """The next move of a run: how many queued items to start, and its state afterwards."""

    start: int
    state: RunState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a schedule has come: everything before `done_until` is queued; `pending` are the windows still to list,
    which together reach to `target`."""

    done_until: datetime | None = None
    pending: tuple[Window, ...] = field(default=())
    target: datetime | None = None


def next_window(
    cursor: Cursor, now: datetime, *, grace: timedelta = GRACE, overlap: timedelta = OVERLAP
) -> Window | None:
    """The window after the cursor; None when nothing new can have ended yet."""
    end = (now - grace).astimezone(UTC).replace(microsecond=0)
    if cursor.done_until is not None and end <= cursor.done_until:
        return None
    start = None if cursor.done_until is None else cursor.done_until - overlap
    return Window(start, end)


def cut(window: Window, total: int, oldest: datetime | None = None, middle_id: str | None = None) -> tuple[Window, ...]:
    """The window, or two that make it up when the search has more hits than it shows.

    `oldest` is the time of the first hit (a window without start is cut from there on), `middle_id` a record id in the
    middle of a window of one second. Raises Rejected (`window-too-full`) when nothing is left to cut by.
    """
    if total <= WINDOW_HITS:
        return (window,)
    start = window.start or oldest
    if start is not None and window.end - start > SECOND:
        middle = start + (window.end - start) / 2
        middle = max(start + SECOND, middle.replace(microsecond=0))
        return replace(window, end=middle), replace(window, start=middle)
    low, high = window.ids
    if middle_id is not None and (low is None or low < middle_id) and (high is None or middle_id < high):
        return replace(window, ids=(low, middle_id)), replace(window, ids=(middle_id, high))
    raise Rejected(
        f"{total} records changed within one second; the search shows {WINDOW_HITS}.", code="window-too-full"
    )


def begin(cursor: Cursor, window: Window) -> Cursor:
    """The cursor when a window is to be listed."""
    return replace(cursor, pending=(*cursor.pending, window), target=max(cursor.target or window.end, window.end))


def divide(cursor: Cursor, window: Window, parts: Sequence[Window]) -> Cursor:
    """The cursor when a pending window was cut."""
    pending: list[Window] = []
    for each in cursor.pending:
        pending += parts if each == window else [each]
    return replace(cursor, pending=tuple(pending))


def finish(cursor: Cursor, window: Window) -> Cursor:
    """The cursor when every item of a pending window is queued: it moves only up to the first window still open."""
    pending = tuple(each for each in cursor.pending if each != window)
    if not pending:
        return Cursor(max(cursor.target or window.end, cursor.done_until or window.end))
    starts = [each.start for each in pending]
    reached = None if None in starts else min(start for start in starts if start is not None)
    if reached is None or (cursor.done_until is not None and reached < cursor.done_until):
        reached = cursor.done_until
    return replace(cursor, done_until=reached, pending=pending)


def judge(items: Iterable[Item], known: Mapping[str, Known]) -> list[tuple[Item, Verdict]]:
    """What to do with each item of a page; one that comes twice in it counts once, with its last revision."""
    latest: dict[str, Item] = {}
    for item in items:
        before = latest.get(item.recid)
        if before is None or item.revision >= before.revision:
            latest[item.recid] = item
    return [(item, _verdict(item, known.get(item.recid, Known()))) for item in latest.values()]


def _verdict(item: Item, known: Known) -> Verdict:
    if item.deleted:
        # An upstream's deletion never deletes ours: it is noted, nothing is fetched (harvesting.md 6.12).
        return Verdict.DELETED
    if known.in_work is not None and item.revision == known.in_work:
        return Verdict.IN_WORK
    if item.revision and item.revision in known.harvested:
        return Verdict.UNCHANGED
    return Verdict.HARVEST


def advance(state: RunState, counts: Counts, limits: Limits) -> Advance:
    """How a run goes on: start as many items as it may, pause when too much fails, end when nothing is left."""
    if state is RunState.PAUSED or state not in OPEN_RUNS:
        return Advance(0, state)
    failed = counts.failed - limits.forgiven
    if failed >= limits.failures_at_least and failed > limits.failure_share * (counts.finished - limits.forgiven):
        return Advance(0, RunState.PAUSED, f"{failed} of {counts.finished} items failed")
    room = max(0, limits.concurrency - counts.running)
    if limits.records is not None:
        room = min(room, max(0, limits.records - counts.harvested))
    start = min(room, counts.queued)
    exhausted = counts.queued == 0 or (limits.records is not None and counts.harvested >= limits.records)
    if state is RunState.RUNNING and exhausted and counts.running == 0 and start == 0:
        return Advance(0, RunState.COMPLETED_WITH_FAILURES if counts.failed else RunState.COMPLETED)
    return Advance(start, state)


def search_query(query: str, window: Window, on: str = "updated") -> str:
    """The search of a window in the syntax of Invenio: naive UTC seconds, end excluded."""
    if on not in ("updated", "created"):
        raise Rejected(
            "A schedule follows the time of change (`updated`) or of creation (`created`).", code="schedule-follows"
        )
    start = window.start.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S") if window.start else "*"
    end = window.end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    parts = [f"({query})"] if query.strip() else []
    parts.append(f"{on}:[{start} TO {end}}}")
    low, high = window.ids
    if low is not None or high is not None:
        parts.append(f"id:[{_term(low)} TO {_term(high)}}}")
    return " AND ".join(parts)


def _term(value: str | None) -> str:
    return "*" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
