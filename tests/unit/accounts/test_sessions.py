"""A session's secret is replaced while it is used; whoever shows an old one later has copied it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from perdura.accounts.credentials import digest
from perdura.accounts.sessions import GRACE, Verdict, judge
from perdura.settings import Settings

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = Settings(session_hours=12, session_idle_hours=4)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Kept:
    begun_at: datetime = NOW - timedelta(hours=1)
    seen_at: datetime = NOW - timedelta(minutes=5)
    rotated_at: datetime = NOW - timedelta(seconds=10)
    secret_hash: bytes = digest("current")
    pending_hash: bytes | None = digest("offered")
    previous_hash: bytes | None = digest("before")


@pytest.mark.parametrize(
    ("shown", "kept", "verdict"),
    [
        ("current", Kept(), Verdict.CURRENT),
        ("offered", Kept(), Verdict.RENEWED),
        ("before", Kept(), Verdict.UNDER_WAY),
        ("before", Kept(rotated_at=NOW - GRACE - timedelta(seconds=1)), Verdict.COPIED),
        ("other", Kept(), Verdict.WRONG),
        ("other", Kept(pending_hash=None, previous_hash=None), Verdict.WRONG),
        ("", Kept(pending_hash=None, previous_hash=None), Verdict.WRONG),
        ("current", Kept(begun_at=NOW - timedelta(hours=12, seconds=1)), Verdict.EXPIRED),
        ("current", Kept(seen_at=NOW - timedelta(hours=4, seconds=1)), Verdict.EXPIRED),
        ("offered", Kept(seen_at=NOW - timedelta(hours=5)), Verdict.EXPIRED),
        ("other", Kept(begun_at=NOW - timedelta(days=2)), Verdict.WRONG),
    ],
)
def test_what_a_shown_secret_is(shown: str, kept: Kept, verdict: Verdict) -> None:
    assert judge(kept, digest(shown), NOW, SETTINGS) is verdict
