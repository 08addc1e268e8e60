"""What follows from what an Archivematica says, apart from any I/O (archivematica.md 1.3, 3 and 6.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from perdura.fleet import FailedJob, Stage, Submission, Unit, UnitState

FOR_EVER = 10
"""So many times its patience, and the time for one decision, is the longest a package may take, however lively."""
QUIET = 0.25
"""Share of its patience after which silence is told while it is still waited for."""
RECORD_SECONDS = 600.0
"""How long the Storage Service may take to show a package that was ingested."""
SUSPECT = "Failed compliance"
"""A unit that ends so may have wedged its pipeline (3.5)."""


class Act(StrEnum):
    """What to do with a submission now."""

    WAIT = "wait"
    INGEST = "ingest"
    TAKE = "take"
    FAIL = "fail"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Decision:
    """An act, its stable code, and what to tell people. `blames` says that the pipeline itself is to be suspected."""

    act: Act
    code: str
    message: str = ""
    blames: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait: per package ahead, per byte, and for a person; seconds and bytes a second."""

    seconds: float
    bytes_per_second: float
    decision: float

    def silence(self, submission: Submission) -> float:
        """Seconds without a sign of life that are normal: everything ahead may have to be worked off first."""
        return self.seconds * (submission.ahead + 1) + (
            (submission.size + submission.ahead_bytes) / self.bytes_per_second
        )


def on_unit(submission: Submission, unit: Unit, now: datetime, patience: Patience) -> Decision:
    """What a status means for a submission that is followed."""
    stage = Stage.INGEST if submission.sip else Stage.TRANSFER
    match unit.state:
        case UnitState.COMPLETE if stage is Stage.INGEST:
            return Decision(Act.TAKE, "ingested")
        case UnitState.COMPLETE if unit.sip == "BACKLOG":
            return Decision(Act.BLOCK, "in-backlog", "The processing configuration sends packages to the backlog.")
        case UnitState.COMPLETE if unit.sip:
            return Decision(Act.INGEST, "ingesting")
        case UnitState.FAILED:
            message = f"Archivematica could not finish the {stage}: {unit.microservice}"
            return Decision(Act.FAIL, "archivematica-failed", message, blames=unit.microservice.startswith(SUSPECT))
        case UnitState.REJECTED:
            return Decision(Act.FAIL, "archivematica-rejected", "Somebody rejected the package in Archivematica.")
        case UnitState.USER_INPUT:
            return _on_question(submission, unit, now, patience)
        case UnitState.UNKNOWN:
            message = (
                "Archivematica does not know this package any more, and the Storage Service shows no AIP of it: its "
                "database may have been restored. See there that nothing of that name lives before trying again: "
                f"{submission.sent_as}."
            )
            return Decision(Act.BLOCK, "archivematica-forgot", message)
        case _:
            return _on_silence(submission, unit, now, patience)


def _on_question(submission: Submission, unit: Unit, now: datetime, patience: Patience) -> Decision:
    question = f"Archivematica waits for a decision: {unit.microservice}"
    asked = submission.moved_at if submission.status == UnitState.USER_INPUT else now
    if asked is not None and (now - asked).total_seconds() > patience.decision:
        return Decision(Act.BLOCK, "decision-overdue", question)
    return Decision(Act.WAIT, "decision-needed", question)


def _on_silence(submission: Submission, unit: Unit, now: datetime, patience: Patience) -> Decision:
    allowed = patience.silence(submission)
    silent = (now - submission.last_sign).total_seconds()
    whole = (now - submission.sent_since).total_seconds()
    if not moved(submission, unit) and silent > allowed:
        if unit.state is UnitState.NO_STATUS:
            message = (
                f"Archivematica has said nothing of this package for {_spoken(silent)}: it is lost, or the pipeline "
                "stands still. See in the dashboard that no such transfer lives before trying again."
            )
            return Decision(Act.BLOCK, "archivematica-lost", message, blames=True)
        message = f"Archivematica has been at {unit.microservice!r} for {_spoken(silent)}."
        return Decision(Act.BLOCK, "archivematica-stuck", message, blames=True)
    if whole > allowed * FOR_EVER + patience.decision:
        return Decision(Act.BLOCK, "archivematica-endless", f"Archivematica has not finished in {_spoken(whole)}.")
    processing = unit.state is UnitState.PROCESSING
    if not moved(submission, unit) and silent > allowed * QUIET:
        what = f"been at {unit.microservice!r}" if processing else "said nothing of this package"
        left = _spoken(allowed - silent)
        message = f"Archivematica has {what} for {_spoken(silent)}; a person will be asked in {left}."
        return Decision(Act.WAIT, "archivematica-quiet", message)
    return Decision(Act.WAIT, "in-archivematica" if processing else "queued-in-archivematica")


def moved(submission: Submission, unit: Unit) -> bool:
    """Whether a status shows life since the one noted before."""
    return (str(unit.state), unit.microservice) != (submission.status, submission.microservice)


def noted(submission: Submission, unit: Unit, now: datetime) -> Submission:
    """The submission with what a status shows of it, and the sign of life when that is another than before."""
    if not moved(submission, unit):
        return submission
    return replace(submission, status=str(unit.state), microservice=unit.microservice, moved_at=now)


def next_interval(submission: Submission, now: datetime, first: float, longest: float) -> timedelta:
    """When to look again: soon after something moved, ever more rarely while nothing does."""
    last = submission.moved_at or submission.sent_at or now
    return timedelta(seconds=max(first, min(longest, (now - last).total_seconds())))


def cause_of(jobs: tuple[FailedJob, ...]) -> tuple[str, str]:
    """The error code and the words for what failed, by the first job that tells (6.3)."""
    for job in jobs:
        for beginning, code, words in _CAUSES:
            if job.name.startswith(beginning):
                return code, words
    if jobs:
        return "archivematica-failed", f"the job {jobs[0].name!r} failed"
    return "archivematica-failed", "it does not say which job failed"


_CAUSES = (
    ("Scan for viruses", "infected", "its virus scan found something, or could not be done"),
    ("Verify bag", "bag-invalid-in-archivematica", "it found the bag invalid"),
    ("Extract zipped bag transfer", "not-unpacked", "it could not unpack the package"),
    ("Extract contents from compressed archives", "not-unpacked", "it could not unpack an archive in the package"),
    ("Verify transfer compliance", "not-compliant", "the layout of the transfer was not as it expects"),
    ("Verify SIP compliance", "not-compliant", "the layout of the SIP was not as it expects"),
    ("Attempt restructure for compliance", "not-compliant", "the layout of the transfer was not as it expects"),
)


def _spoken(seconds: float) -> str:
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"
