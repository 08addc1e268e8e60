"""Windows, cursors, duplicates and the pace of recurring harvests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdura.errors import Rejected
from perdura.steps.harvest_schedule import (
    GRACE,
    OVERLAP,
    Counts,
    Cursor,
    Item,
    Known,
    Limits,
    RunState,
    Verdict,
    Window,
    advance,
    begin,
    cut,
    divide,
    finish,
    judge,
    next_window,
    search_query,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_the_first_window_begins_at_the_beginning() -> None:
    assert next_window(Cursor(), NOON) == Window(None, NOON - GRACE)


def test_windows_overlap_and_stay_behind_the_present() -> None:
    assert next_window(Cursor(NOON - HOUR), NOON) == Window(NOON - HOUR - OVERLAP, NOON - GRACE)
    assert next_window(Cursor(NOON), NOON + GRACE) is None


def test_the_cursor_moves_only_when_a_window_is_queued() -> None:
    window = Window(NOON - HOUR, NOON)
    cursor = begin(Cursor(NOON - HOUR), window)
    assert cursor.done_until == NOON - HOUR
    assert finish(cursor, window) == Cursor(NOON)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_parts_may_end_in_any_order(order: tuple[int, int]) -> None:
    window = Window(NOON - HOUR, NOON)
    parts = cut(window, 20_000)
    cursor = divide(begin(Cursor(NOON - HOUR), window), window, parts)
    cursor = finish(cursor, parts[order[0]])
    assert cursor.done_until in (NOON - HOUR, parts[1].start)
    assert finish(cursor, parts[order[1]]) == Cursor(NOON)


def test_nothing_of_the_first_window_counts_before_its_oldest_part() -> None:
    parts = cut(Window(None, NOON), 20_000, oldest=NOON - HOUR)
    cursor = finish(Cursor(None, parts, NOON), parts[1])
    assert cursor.done_until is None
    assert finish(cursor, parts[0]).done_until == NOON


@given(
    st.integers(min_value=2, max_value=10**8),
    st.integers(min_value=10_001, max_value=10**7),
)
def test_parts_make_up_the_window_and_are_smaller(seconds: int, total: int) -> None:
    window = Window(NOON - timedelta(seconds=seconds), NOON)
    first, second = cut(window, total)
    assert (first.start, first.end, second.end) == (window.start, second.start, window.end)
    assert first.start is not None
    assert first.start < first.end < second.end


def test_one_second_is_cut_by_ids() -> None:
    window = Window(NOON, NOON + timedelta(seconds=1))
    assert cut(window, 10_000) == (window,)
    first, second = cut(window, 30_000, middle_id="m")
    assert (first.ids, second.ids) == ((None, "m"), ("m", None))
    assert cut(second, 30_000, middle_id="t")[0].ids == ("m", "t")
    with pytest.raises(Rejected):
        cut(second, 30_000, middle_id="a")
    with pytest.raises(Rejected):
        cut(window, 30_000)


def test_what_is_known_is_not_harvested_again() -> None:
    known = {
        "a": Known(harvested=("3",)),
        "b": Known(harvested=("1",)),
        "c": Known(in_work="2"),
        "e": Known(harvested=("1",)),
    }
    items = [Item("a", "3"), Item("b", "2"), Item("c", "2"), Item("d", "1"), Item("e", "1", deleted=True)]
    assert {item.recid: verdict for item, verdict in judge(items, known)} == {
        "a": Verdict.UNCHANGED,
        "b": Verdict.HARVEST,
        "c": Verdict.IN_WORK,
        "d": Verdict.HARVEST,
        "e": Verdict.DELETED,
    }


def test_an_item_that_comes_twice_counts_once() -> None:
    assert judge([Item("a", "2026-01-02"), Item("a", "2026-01-01")], {}) == [(Item("a", "2026-01-02"), Verdict.HARVEST)]


@pytest.mark.parametrize(
    ("counts", "start", "state"),
    [
        (Counts(queued=10), 4, RunState.RUNNING),
        (Counts(queued=10, running=3), 1, RunState.RUNNING),
        (Counts(queued=10, running=4), 0, RunState.RUNNING),
        (Counts(running=1, done=9), 0, RunState.RUNNING),
        (Counts(done=9, unchanged=1), 0, RunState.COMPLETED),
        (Counts(done=9, failed=1), 0, RunState.COMPLETED_WITH_FAILURES),
        (Counts(queued=90, done=90, failed=10), 4, RunState.RUNNING),
        (Counts(queued=90, done=10, failed=10), 0, RunState.PAUSED),
        (Counts(queued=90, failed=9), 4, RunState.RUNNING),
    ],
)
def test_pace(counts: Counts, start: int, state: RunState) -> None:
    move = advance(RunState.RUNNING, counts, Limits())
    assert (move.start, move.state) == (start, state)


def test_a_limit_of_records() -> None:
    limits = Limits(records=10)
    assert advance(RunState.RUNNING, Counts(queued=50, done=8, running=1), limits).start == 1
    assert advance(RunState.RUNNING, Counts(queued=50, done=10), limits).state is RunState.COMPLETED


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.CANCELLED])
def test_what_a_person_stopped_stays_stopped(state: RunState) -> None:
    assert advance(state, Counts(queued=10), Limits()).start == 0


def test_a_run_that_still_lists_does_not_end() -> None:
    assert advance(RunState.LISTING, Counts(), Limits()).state is RunState.LISTING


@pytest.mark.parametrize(
    ("window", "query"),
    [
        (Window(None, NOON), "updated:[* TO 2026-11-24T12:00:00}"),
        (Window(NOON - HOUR, NOON), "updated:[2026-11-24T11:00:00 TO 2026-11-24T12:00:00}"),
        (Window(None, NOON, ("a", None)), 'updated:[* TO 2026-11-24T12:00:00} AND id:["a" TO *}'),
    ],
)
def test_queries(window: Window, query: str) -> None:
    assert search_query("", window) == query
    assert search_query("type:thesis OR x", window) == f"(type:thesis OR x) AND {query}"


def test_queries_follow_two_times_only() -> None:
    with pytest.raises(Rejected):
        search_query("", Window(None, NOON), "deleted")
