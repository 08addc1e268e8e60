"""Reading JSON of unknown shape without surprises: what is not of the expected kind is as if it were absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping(value: Any) -> Mapping[str, Any]:
    """The value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """The value when it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def at(value: Any, path: str) -> Any:
    """What lies at a dotted path of members; None when a part is missing."""
    for part in path.split("."):
        value = mapping(value).get(part)
    return value


def text(value: Any, path: str) -> str | None:
    """The text at a dotted path; None when it is missing, empty or no text."""
    found = at(value, path)
    return found if isinstance(found, str) and found else None


def size(value: Any) -> int | None:
    """A size in bytes, given as a number or as digits; None for anything else."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
