"""Parameters of statements are numbered once: the driver (pg8000) reads a statement anew each time it is run.

It does so character by character, which for a statement of SQLAlchemy takes longer than PostgreSQL does to look up a
row: 0.4 ms for 1.7 kB, and a page sends ten of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pg8000 import legacy
from pg8000.dbapi import convert_paramstyle

KEPT = 1_000
"""Statements that are remembered, those that were not used for longest forgotten first."""

LONGEST = 20_000
"""Characters of a statement that is worth remembering; longer ones name many rows and do not come again."""


def remember() -> None:
    """Have the driver's connections of this process remember how the statements that they run are numbered."""
    legacy.convert_paramstyle = numbered


def numbered(style: str, statement: str, parameters: Sequence[Any]) -> tuple[str, Sequence[Any]]:
    """The statement with `$1`, `$2`, … for its marks, and its parameters in that order."""
    if style != "format" or len(statement) > LONGEST:
        converted: tuple[str, Sequence[Any]] = convert_paramstyle(style, statement, parameters)
        return converted
    return _numbered(statement), parameters


@lru_cache(maxsize=KEPT)
def _numbered(statement: str) -> str:
    text: str = convert_paramstyle("format", statement, ())[0]
    return text
