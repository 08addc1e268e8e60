"""The PREMIS events of archiving to tape: replication, the confirmation of residency and fixity, and failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from perdura import __version__
from perdura.ids import derived_id
from perdura.outcome import ArchiveView, Finding, Outcome, Package, StepState
from perdura.ports import Residency
from perdura.premis.model import FAILURE, SUCCESS, WARNING, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps.archive_decisions import Decision
from perdura.steps.archive_transfer import Transfer

SOFTWARE = Identifier("software", f"perdura/{__version__} archive-cta", ("executing program",))
NO_TAPE = "no-tape-configured"


@dataclass(frozen=True, slots=True)
class Told:
    """Who and what an event is about, and when."""

    archive: ArchiveView
    aip: Package
    at: datetime

    def event(self, name: str, kind: str, details: tuple[str, ...], outcome: str, notes: tuple[str, ...]) -> Event:
        """An event whose id only depends on the step, its attempt and `name`."""
        step = self.archive.step
        return Event(
            id=derived_id("premis", step.id, step.attempt, name),
            type=kind,
            at=self.at,
            details=details,
            outcomes=(EventOutcome(outcome, notes),),
            agents=(SOFTWARE,),
            objects=(
                Identifier("UUID", str(self.aip.id), ("source",)),
                Identifier("UUID", str(self.archive.id)),
            ),
        )


def archived_events(told: Told, uri: str, transfer: Transfer, found: Residency, *, already: bool) -> tuple[Event, ...]:
    """Replication, and that the tape system itself confirmed the file; `uri` is that of the file on tape."""
    how = "found at its place already; not copied again" if already else f"copied by FTS job {transfer.job}"
    where = f"copy on tape: {uri}"
    if transfer.slot is not None:
        slot = transfer.slot
        where += f", in container {slot.container} at byte {slot.offset}, {slot.length} bytes"
    locality = "disk and tape" if found.on_disk else "tape"
    known = "as in the registry" if transfer.slot is None else "as combined from the AIPs of the container"
    return (
        told.event("replication", "replication", (where, how), SUCCESS, ()),
        told.event(
            "tape-fixity",
            "fixity check",
            (f"residency, size and ADLER32 of {uri} as the tape endpoint tells them",),
            SUCCESS,
            (f"on {locality}; {found.size} bytes; ADLER32 {transfer.adler32}, {known}",),
        ),
    )


def attempt_failed(told: Told, decision: Decision, round_: int, job: str | None) -> Event:
    """A replication that did not succeed, in the tape system's own words."""
    details = (f"copy to tape, attempt {told.archive.step.attempt}.{round_}, FTS job {job or 'none'}",)
    notes = (f"{decision.code}: {decision.message}"[:2000],)
    return told.event(f"replication-failed-{round_}", "replication", details, FAILURE, notes)


def told_without_tape(archive: ArchiveView, aip: Package, at: datetime) -> Outcome:
    """No tape system is configured: said plainly, in the timeline and in the log."""
    message = "No tape system is configured; this AIP has no copy on tape."
    event = Told(archive, aip, at).event("no-tape", "replication", ("copy to tape: not done",), WARNING, (message,))
    return Outcome(
        StepState.COMPLETED_WITH_WARNINGS,
        findings=(Finding(NO_TAPE, message, "warning"),),
        events=(event,),
        output={"tape": None},
    )
