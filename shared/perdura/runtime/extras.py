"""What some steps need to know beside the Archive itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perdura.outcome import ArchiveView
from perdura.premis import log
from perdura.registry import preservation
from perdura.runtime.environment import Environment


def of_preserve(environment: Environment, archive: ArchiveView) -> Mapping[str, Any]:
    """How an Archive is to be preserved, and its PREMIS events so far, oldest first: an AIP carries its history."""
    with environment.engine.connect() as connection:
        stored = log.events_of(connection, archive_id=archive.id, limit=1000)
        wish = preservation.wish(connection, archive.id)
    return {"earlier_events": [each.event for each in stored], "wish": wish}
