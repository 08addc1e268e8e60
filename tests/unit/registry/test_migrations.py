"""The migrations as files: one line without forks, whose end the code knows."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from perdura.registry import migrate

VERSIONS = Path(migrate.__file__).parent / "migrations/versions"


def _named(text: str, name: str) -> str | None:
    match = re.search(rf'^{name} = (?:"(\d+)"|None)$', text, re.MULTILINE)
    assert match is not None
    return match[1]


def test_migrations_follow_each_other_by_number() -> None:
    files = sorted(VERSIONS.glob("0*.py"))
    numbers = [path.name[:4] for path in files]
    assert numbers == [f"{number:04d}" for number in range(1, len(files) + 1)]
    texts = [path.read_text() for path in files]
    assert [_named(text, "revision") for text in texts] == numbers
    for (before, _), (_, text) in pairwise(zip(numbers, texts, strict=True)):
        assert _named(text, "down_revision") == before
    assert numbers[-1] == migrate.HEAD
