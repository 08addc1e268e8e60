"""The page on bagit-create's defects: every defect of the reference has a line, every line a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/bagit-create.md").read_text(encoding="utf-8")
LINES = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| [0-9P]", line)]


@pytest.mark.parametrize("cells", LINES, ids=[cells[0].strip() for cells in LINES])
def test_every_defect_names_tests_that_exist(cells: list[str]) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", cells[-1])
    assert named
    assert len(named) == cells[-1].count("::")
    for path, name in named:
        assert re.search(rf"^\s*def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), name


def test_every_defect_of_the_reference_has_a_line() -> None:
    numbers = {cells[0].strip() for cells in LINES}
    assert {str(number) for number in range(1, 19)} <= numbers
