"""What the commands of jobs read, and what tables show."""

from __future__ import annotations

import click
import pytest

from perdura.commands import jobs, tables


def test_filters_are_read_as_the_api_wants_them() -> None:
    found = jobs.parsed(["state=failed", "state=blocked", "size_min=10", "q=a=b"])
    assert found == {"state": ["failed", "blocked"], "size_min": 10, "q": "a=b"}
    with pytest.raises(click.UsageError):
        jobs.parsed(["state"])


def test_a_table_shows_nothing_that_a_terminal_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show([{"t": "a\x1b[2Jb\nc"}, {"t": None}], [("TITLE", lambda row: row["t"])], as_json=False)
    assert capsys.readouterr().out == "TITLE\na [2Jb c\n-\n"
    assert tables.show([], [("TITLE", lambda row: row["t"])], as_json=False) == 0
    assert tables.size(1536) == "1.5 KiB"
