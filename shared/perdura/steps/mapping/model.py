"""The result of mapping: metadata in InvenioRDM's form, and what could not be mapped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SHOWN = 120


@dataclass(frozen=True, slots=True)
class Unmapped:
    """A value that found no place in the record: where it stood, how it began, and why."""

    path: str
    value: str
    reason: str


@dataclass
class Mapped:
    """Metadata being collected. Nothing is put twice, nothing empty is kept, nothing is dropped in silence."""

    form: str
    metadata: dict[str, Any] = field(default_factory=dict)
    unmapped: list[Unmapped] = field(default_factory=list)

    def put(self, name: str, value: Any) -> None:
        """Set a field, unless there is nothing to set or it has a value."""
        if value not in (None, "", [], {}):
            self.metadata.setdefault(name, value)

    def add(self, name: str, value: Any) -> None:
        """Append to a list field what is not in it yet."""
        if value not in (None, "", [], {}):
            values = self.metadata.setdefault(name, [])
            if value not in values:
                values.append(value)

    def miss(self, path: str, value: Any, reason: str = "There is no place for it in the record.") -> None:
        """Report a value that is left out; nothing is said of empty ones."""
        if value in (None, "", [], {}):
            return
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        shown = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
        self.unmapped.append(Unmapped(path, shown, reason))

    def miss_others(self, told: Mapping[str, Any], known: Iterable[str], prefix: str = "") -> None:
        """Report every member that nobody looked at."""
        names = set(known)
        for name, value in told.items():
            if name not in names:
                self.miss(f"{prefix}{name}", value)


def mapping(value: Any) -> Mapping[str, Any]:
    """The value, when it is a JSON object; an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """The value as a list: itself, alone, or nothing."""
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def text(value: Any) -> str | None:
    """The value as a text without white space around it; None for anything else."""
    return value.strip() or None if isinstance(value, str) else None
