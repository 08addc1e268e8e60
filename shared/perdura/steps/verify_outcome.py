"""How the check of a stored copy ends: the copy's state, its event, and what is told to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perdura import __version__
from perdura.outcome import ArchiveView, Copy, CopyState, Fact, Finding, Outcome, Package, StepState
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome

LOCATION = "object-store"
READ_AGAIN = "Stored copy read again"
"""How the detail of the event begins: the check stands for itself, not for the step that made the AIP."""


def as_expected(archive: ArchiveView, aip: Package, found: Mapping[str, str], note: str, ports: Ports) -> Outcome:
    """The copy is sound: COMPLETED, with its date of verification renewed. `found` are digests of it as a whole."""
    now = ports.clock.now()
    return Outcome(
        copies=(replace(_copy(archive, aip), verified_at=now, state=CopyState.HELD),),
        events=(_event(archive, aip, SUCCESS, note, ports),),
        output={"fixity": {"package": str(aip.id), "location": LOCATION, "checksums": dict(found)}},
    )


def _copy(archive: ArchiveView, aip: Package) -> Copy:
    held = (copy for copy in archive.copies if (copy.package_id, copy.location) == (aip.id, LOCATION))
    return next(held, Copy(aip.id, LOCATION, _uri(aip), aip.size, aip.checksums))


def failed(
    archive: ArchiveView,
    aip: Package,
    code: str,
    said: str,
    expected: Mapping[str, str],
    found: Mapping[str, str],
    ports: Ports,
) -> Outcome:
    """The copy is lost (`copy-missing`) or damaged (any other code): FAILED; `said` tells of it, without the place."""
    message = f"{said} ({_uri(aip)})"
    state = CopyState.LOST if code == "copy-missing" else CopyState.DAMAGED
    told: dict[str, Any] = {
        "archive": str(archive.id), "package": str(aip.id), "location": LOCATION, "expected": dict(expected),
        "found": dict(found),
    }  # fmt: skip
    return Outcome(
        StepState.FAILED,
        error_code=code,
        message=message,
        findings=(Finding(code, message),),
        copies=(replace(_copy(archive, aip), state=state),),
        events=(_event(archive, aip, FAILURE, f"{code}: {message}", ports),),
        facts=(Fact("org.perdura.fixity.failed.v1", told),),
    )


def _uri(aip: Package) -> str:
    return f"s3://{aip.bucket}/{aip.key}"


def _event(archive: ArchiveView, aip: Package, outcome: str, note: str, ports: Ports) -> Event:
    return Event(
        id=ports.derived("premis/fixity"),
        type="fixity check",
        at=ports.clock.now(),
        details=(f"{READ_AGAIN}: {_uri(aip)}",),
        outcomes=(EventOutcome(outcome, (note[:2000],)),),
        agents=(Identifier("software", f"perdura/{__version__} preserve", ("executing program",)),),
        objects=(Identifier("UUID", str(aip.id), ("source",)), Identifier("UUID", str(archive.id))),
    )
