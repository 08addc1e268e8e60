"""The kinds that a filter means: a few dozen rows stand for all types and outcomes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy.engine import Connection

from perdura.premis.query.filters import Filter


@dataclass(frozen=True, slots=True)
class Kinds:
    """The kinds that a filter means: (id, type, first outcome)."""

    rows: tuple[tuple[int, str, str], ...]

    @property
    def ids(self) -> list[int]:
        """Their ids."""
        return [each[0] for each in self.rows]


def kinds_of(connection: Connection, matching: Filter) -> Kinds:
    """The kinds whose type and outcomes match; any outcome of an event may match (premis.md 2.3)."""
    found = connection.exec_driver_sql("SELECT id, type, array_to_json(outcomes)::text FROM premis_kind")
    kept = []
    for id_, type_, listed in found:
        outcomes = outcomes_of(listed)
        if matching.type is not None and matching.type not in type_:
            continue
        if matching.exact_type is not None and matching.exact_type != type_:
            continue
        if matching.outcome is not None and not any(matching.outcome in each for each in outcomes):
            continue
        if matching.exact_outcome is not None and matching.exact_outcome not in outcomes:
            continue
        kept.append((id_, type_, outcomes[0] if outcomes else ""))
    return Kinds(tuple(kept))


@lru_cache(maxsize=256)
def outcomes_of(listed: str) -> tuple[str, ...]:
    """The outcomes of a kind, which travel as JSON: the driver reads arrays far more slowly."""
    return tuple(json.loads(listed))
