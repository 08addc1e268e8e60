"""What the check says of runs against other projects' software."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

VERDICT = Path(__file__).parents[3] / ".ci/verdict"


@pytest.mark.parametrize(
    ("report", "status", "said"),
    [
        ("== 140 passed in 600.12s ==", 0, "passed: 140 passed in 600.12s"),
        (
            "SKIPPED [1] tests/peers/test_x.py:40: ../shared is not here\n== 9 passed, 1 skipped in 6.12s ==", 0,
            "passed: 9 passed, 1 skipped in 6.12s",
        ),
        (
            "SKIPPED [140] tests/conftest.py:124: InvenioRDM: `run install`: no pip\n== 140 skipped in 2.00s ==", 0,
            "not installable: SKIPPED [140] tests/conftest.py:124: InvenioRDM: `run install`: no pip "
            "(140 skipped in 2.00s)",
        ),
        ("..... [ 36%]\n...", 124, "not finished in time: nothing is known of what did not run ([ 36%])"),
        ("== 1 failed, 9 passed in 6.12s ==", 1, "failed: 1 failed, 9 passed in 6.12s"),
        ("ImportError while loading conftest", 4, "failed: "),
    ],
    ids=["passed", "skipped for another reason", "not installable", "not finished", "failed", "broken"],
)  # fmt: skip
def test_passed_and_not_installable_and_not_finished_are_told_apart(
    tmp_path: Path, report: str, status: int, said: str
) -> None:
    written = tmp_path / "report"
    written.write_text(report + f"\nstatus {status}\n")
    done = subprocess.run([str(VERDICT), str(written), str(status)], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip("\n") == said
