"""Programs that are run to their end, or to the end of the time there is."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from perdura.clients.processes import run_to_end
from perdura.storage.timed import TimeUp

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_program_ends_with_its_code(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        assert run_to_end([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path, log, 60) == 3


@pytest.mark.parametrize("limit", [0.3, 60])
def test_a_program_is_killed_after_its_limit_and_when_time_is_up(tmp_path: Path, limit: float) -> None:
    began = time.monotonic()
    with (tmp_path / "log").open("wb") as log, pytest.raises(TimeUp):
        run_to_end(SLEEP, {}, tmp_path, log, limit, near=lambda: time.monotonic() - began > 0.3)
    assert time.monotonic() - began < 10
