"""Words for people."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest

from perdura.outcome import StepState
from perdura.registry.transitions import ArchiveState
from perdura.web import formatting
from perdura.web.visit import own_path

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "words"),
    [(None, "–"), (0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 * 2**40, "5.0 TiB")],
)
def test_sizes(count: int | None, words: str) -> None:
    assert formatting.size(count) == words


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(seconds=1), "just now"),
        (timedelta(seconds=59), "59 seconds ago"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=25), "1 day ago"),
        (timedelta(days=40), "2026-10-15"),
        (-timedelta(minutes=5), "in 5 minutes"),
    ],
)
def test_times(distance: timedelta, words: str) -> None:
    assert formatting.ago(NOW - distance, NOW) == words


def test_every_state_has_words_icon_and_tone_and_only_success_is_green() -> None:
    for state in (*ArchiveState, *StepState):
        look = formatting.appearance(state)
        assert look.words
        assert look.icon
        assert (look.tone == "good") == (str(state) == "completed")


def test_a_waiting_step_says_for_what() -> None:
    assert formatting.appearance(StepState.WAITING, "archive").words == "Waiting for tape"


@pytest.mark.parametrize("target", ["https://x", "//x", "/\\x", "javascript:1", "x", "", "/a\r\nb"])
def test_only_own_paths_are_gone_to(target: str) -> None:
    assert own_path(target) == "/"


def test_htmx_is_the_file_that_was_reviewed() -> None:
    content = (files("perdura.web") / "assets" / "htmx.min.js").read_bytes()
    pinned = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
    assert hashlib.sha256(content).hexdigest() == pinned
