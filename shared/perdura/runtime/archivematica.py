"""What reaches preserve beside its steps: callbacks of Storage Services, and the health of Archivematicas."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from perdura.cloudevents.message import CloudEvent
from perdura.errors import Rejected
from perdura.registry import archivematica, duties
from perdura.runtime.environment import Environment
from perdura.steps.preserve_archivematica import probe as probe_fleet
from perdura.steps.preserve_archivematica_left import look_after
from perdura.steps.preserve_archivematica_told import patience_of

_log = logging.getLogger(__name__)

STORED = "org.archivematica.aip.stored"
"""Type of the CloudEvent that a Storage Service sends when it is set up as docs/archivematica.md says."""
PROBE_INTERVAL = timedelta(seconds=30)


def stored(environment: Environment, event: CloudEvent) -> Sequence[CloudEvent]:
    """Take a callback as a hint to look sooner; nothing that it says is believed (archivematica.md 2.9)."""
    data = event.data if isinstance(event.data, dict) else {}
    try:
        package = UUID(str(data.get("uuid")))
    except ValueError:
        raise Rejected("The callback names no package.", code="bad-callback") from None
    with environment.engine.begin() as connection:
        known = archivematica.stored(connection, package, str(data.get("name") or ""))
    _log.info("stored, %s", "looked for" if known else "not ours", extra={"package": package})
    return ()


def probe(environment: Environment) -> None:
    """Ask the instances who they are, and look at what was left there; costs nothing where none is configured."""
    if environment.settings.archivematica is None:
        return
    with environment.engine.begin() as connection:
        due = duties.due(connection, {"archivematica": PROBE_INTERVAL})
    if due:
        probe_fleet(environment.fleet)
        look_after(environment.fleet, patience_of(environment.settings), datetime.now(UTC))
