"""The embargo on the files of an Archive: a day in its metadata, set by a person or told by the Source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any


def ends(metadata: Any, now: datetime) -> date | None:
    """The day on which the embargo on an Archive ends, while it lasts."""
    told = metadata.get("embargo_until") if isinstance(metadata, Mapping) else None
    try:
        until = date.fromisoformat(str(told)[:10])
    except ValueError:
        return None
    return until if until > now.astimezone(UTC).date() else None
