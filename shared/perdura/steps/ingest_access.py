"""What a submission says of who may see it is enforced from the moment it is accepted: an embargo, or a restriction.

The same documents are read as for the rights in the AIP (`preserve_rights`), so that what the AIP says is what holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from perdura.outcome import ArchiveChange, ArchiveView, Finding, Outcome, StepState
from perdura.packages.file_table import FileTable
from perdura.packages.limits import Limits, limits_of
from perdura.packages.package import Report
from perdura.packages.sip import SIP_JSON
from perdura.ports import Ports
from perdura.registry import embargo
from perdura.steps.preserve_rights_read import ToldRights, day_of, describes, embargo_of, sip_json_of


@dataclass(frozen=True, slots=True)
class Stated:
    """The last day that is named as the end of an embargo, and whether something is shut without such a day."""

    until: date | None = None
    shut: bool = False


def enforced(archive: ArchiveView, outcome: Outcome, report: Report, ports: Ports) -> Outcome:
    """The outcome of an accepted submission, with the embargo and the restriction that it states.

    The stricter of what it states and what is known of the Archive already holds. An embargo whose end cannot be read
    restricts the Archive, and warns, until a person decides.
    """
    change = outcome.archive
    if change is None or change.rejected or not isinstance(report.files, FileTable):
        return outcome
    now = ports.clock.now()
    found = stated(report.files, now, limits_of(ports.settings))
    known = embargo.ends(archive.metadata, now)
    until = max((day for day in (found.until, known) if day is not None), default=None)
    if until is not None and until != known:
        change = replace(change, metadata={**(change.metadata or {}), "embargo_until": until.isoformat()})
    if not found.shut or archive.restricted:
        return replace(outcome, archive=change)
    return _restricted(outcome, change)


def _restricted(outcome: Outcome, change: ArchiveChange) -> Outcome:
    message = "The submission says that it is not for everybody, or under an embargo without an end that can be read."
    finding = Finding("restricted-by-submission", f"{message} The Archive is restricted.", "warning")
    return replace(
        outcome,
        state=StepState.COMPLETED_WITH_WARNINGS,
        findings=(*outcome.findings, finding),
        archive=replace(change, restricted=True),
    )


def stated(files: FileTable, now: datetime, limits: Limits) -> Stated:
    """What sip.json and the descriptions in a submission say."""
    rights = ToldRights()
    for file, chunks in files.named(describes):
        feed = rights.tap(file.path, file.size, _nowhere)
        for chunk in chunks:
            feed(chunk)
    told = _sip_json(files, limits.sip_json)
    asked = embargo_of(told or {})
    end = day_of(asked)
    named = [*rights.days(), *([end] if end else ())]
    until = max((day for day in named if day > now.date()), default=None)
    endless = (bool(asked) and end is None) or (rights.undated and not named)
    return Stated(until, rights.shut or endless or told is None)


def _nowhere(_: object) -> None:
    """The bytes of a description are kept by whom they pass."""


def _sip_json(files: FileTable, largest: int) -> Mapping[str, Any] | None:
    """None for one that is too large to be read: nobody knows what it restricts."""
    data = bytearray()
    for chunk in files.read(SIP_JSON):
        data += chunk
        if len(data) > largest:
            return None
    return sip_json_of(data)
