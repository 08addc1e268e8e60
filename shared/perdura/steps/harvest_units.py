"""Work units of a harvest: which files are fetched together, and the receipt each unit leaves.

A receipt is written when all files of its unit are stored and verified. Whoever continues a harvest skips the units
that have one, so that a killed worker loses the units it was at and nothing else (architecture §3).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

from perdura.errors import Broken
from perdura.sources.plan import PlannedFile
from perdura.sources.transfer import SMALL, Fetched

UNIT_FILES = 32
"""Most files of one unit."""

UNIT_BYTES = 8 << 20
"""Most bytes of one unit of several files."""


_FIELDS = tuple(field.name for field in fields(Fetched))


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that are fetched one after the other by one thread."""

    number: int
    files: tuple[PlannedFile, ...]


def units(files: Sequence[PlannedFile]) -> list[Unit]:
    """Cut a plan's files into units, in order: small files grouped, every other file on its own."""
    found: list[Unit] = []
    group: list[PlannedFile] = []
    total = 0
    for file in files:
        is_small = file.size is not None and file.size <= SMALL
        full = len(group) == UNIT_FILES or total + (file.size or 0) > UNIT_BYTES
        if group and (not is_small or full):
            found.append(Unit(len(found), tuple(group)))
            group, total = [], 0
        if is_small:
            group.append(file)
            total += file.size or 0
        else:
            found.append(Unit(len(found), (file,)))
    if group:
        found.append(Unit(len(found), tuple(group)))
    return found


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a unit has done: the files that are stored, and the optional ones that could not be had, with reasons."""

    fetched: tuple[Fetched, ...]
    missing: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> bytes:
        """The receipt as JSON."""
        fetched = [{name: getattr(item, name) for name in _FIELDS} for item in self.fetched]
        value = {"fetched": fetched, "missing": self.missing}
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def read_receipt(data: bytes) -> Receipt:
    """Read a receipt back; raises Broken when it is none."""
    try:
        value = json.loads(data)
        return Receipt(
            fetched=tuple(Fetched(**{**item, "compared": tuple(item["compared"])}) for item in value["fetched"]),
            missing=tuple((path, reason) for path, reason in value["missing"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("A stored receipt of this harvest cannot be read.") from error
