"""What some steps need to know beside the Archive itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdura.outcome import ArchiveView
from perdura.premis import log
from perdura.runtime.environment import Environment


def earlier_events(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """The PREMIS events recorded for the Archive so far, oldest first: an AIP carries its own history."""
    with environment.engine.connect() as connection:
        stored = log.events_of(connection, archive_id=archive.id, limit=1000)
    return {"earlier_events": [each.event for each in stored]}
