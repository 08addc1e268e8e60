"""When schedules are due."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perdura.errors import Rejected
from perdura.steps.harvest_cron import parse

START = datetime(2026, 11, 24, 12, 34, 56, tzinfo=UTC)
"""A Tuesday."""


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("* * * * *", "2026-11-24T12:35"),
        ("*/15 * * * *", "2026-11-24T12:45"),
        ("0 3 * * *", "2026-11-25T03:00"),
        ("30 12 * * *", "2026-11-25T12:30"),
        ("0 0 1 * *", "2026-12-01T00:00"),
        ("0 0 * * mon", "2026-11-30T00:00"),
        ("0 0 * * 7", "2026-11-29T00:00"),
        ("0 0 13 * fri", "2026-11-27T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("5,10-12 13 * jan-feb *", "2027-01-01T13:05"),
        ("@daily", "2026-11-25T00:00"),
        ("10/20 * * * *", "2026-11-24T12:50"),
    ],
)
def test_due(expression: str, due: str) -> None:
    found = parse(expression).after(START)
    assert found is not None
    assert found.strftime("%Y-%m-%dT%H:%M") == due


def test_never_due() -> None:
    assert parse("0 0 31 2 *").after(START) is None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "5-1 * * * *",
        "x * * * *",
        "*/0 * * * *",
        "1--2 * * * *",
    ],
)
def test_unreadable(expression: str) -> None:
    with pytest.raises(Rejected):
        parse(expression)
