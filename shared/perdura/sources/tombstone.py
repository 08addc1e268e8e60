"""What a repository says of a record that it deleted (harvesting.md 1.1)."""

from __future__ import annotations

import json
from typing import Any

from perdura.sources.json_values import mapping, text

_MOST = 2000
"""Characters that are kept of each saying; the whole answer is stored beside."""


def tombstone(body: bytes) -> dict[str, str]:
    """Reason, note, citation and date of InvenioRDM's tombstone; nothing for an answer of another form."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    stone = mapping(mapping(answer).get("tombstone"))
    found = {
        "reason": text(stone, "removal_reason.id"),
        "note": text(stone, "note"),
        "citation": text(stone, "citation_text"),
        "removed": text(stone, "removal_date"),
    }
    return {name: value[:_MOST] for name, value in found.items() if value}
