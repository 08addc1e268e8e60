"""What to do about what FTS and the tape endpoint say: the error policy of fts-cta.md 10.2, row by row.

Pure: values in, one decision out. The guiding rules: FTS's word alone proves nothing; a copy that may exist is looked
for before another is made; nothing at the destination is ever overwritten; a good copy is never counted as lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from errno import EEXIST

from perdura.ports import Residency, TapeJob

COMPLAINTS = 3
"""Looks in a row at which the endpoint may say that a file on disk will not reach tape."""
PASSING = frozenset({110, 70, 112})
"""ETIMEDOUT, ECOMM, EHOSTDOWN: worth another attempt whatever FTS thinks of it."""
REASON = re.compile(r"(?P<scope>[A-Z_]+) \[(?P<errno>\d+)\] ?(?P<text>.*)", re.DOTALL)
JOB_WITHHELD = "job-withheld"
COPY_DAMAGED = "copy-damaged"


class Act(StrEnum):
    """What to do next."""

    WAIT = "wait"
    INSPECT = "inspect"
    """Ask the tape endpoint what is there."""
    RESUBMIT = "resubmit"
    """Another attempt under the next job key."""
    MONITOR = "monitor"
    """The file is there; wait for tape without a job and without another copy."""
    DONE = "done"
    OPERATOR = "operator"
    """A person has to decide."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, a stable code for why, and a sentence for people. `alarm`: tell the operator in any case."""

    act: Act
    code: str
    message: str = ""
    alarm: bool = False
    check_source: bool = False
    """True when our own copy or our registry is under suspicion."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the file must be; `size` in bytes, `adler32` as eight lower-case digits."""

    size: int
    adler32: str


@dataclass(frozen=True, slots=True)
class Reason:
    """`SCOPE [errno] text`, taken apart."""

    scope: str
    errno: int
    text: str


def reason_of(text: str | None) -> Reason:
    """Take FTS's reason apart; what has no scope is all text."""
    match = REASON.match(text or "")
    if match is None:
        return Reason("", 0, text or "")
    return Reason(match["scope"], int(match["errno"]), match["text"])


def on_job(job: TapeJob, expected: Expected) -> Decision:
    """What the state of a job asks for."""
    match job.state:
        case "active" | "archiving":
            return Decision(Act.WAIT, job.state)
        case "finished":
            return Decision(Act.INSPECT, "finished")
        case "unknown":
            return Decision(Act.INSPECT, "job-unknown", "FTS no longer knows the job")
        case "withheld":
            message = (
                f"FTS has the job and does not show it to us ({job.reason}). A second one could run beside it: have "
                "our rights at FTS mended, or see that the job is over; then retry"
            )
            return Decision(Act.INSPECT, JOB_WITHHELD, message)
        case "untold":
            return Decision(Act.WAIT, "job-untold", f"FTS does not say how the job is: {job.reason}")
        case "cancelled":
            return _on_cancelled(job)
    return _on_failure(job, reason_of(job.reason), expected)


def _on_cancelled(job: TapeJob) -> Decision:
    said = job.reason or "no reason given"
    if "max-time-in-queue" in said or "global timeout" in said or "is offline" in said:
        return Decision(Act.RESUBMIT, "cancelled-by-fts", f"FTS cancelled the job: {said}")
    if "banned" in said:
        return Decision(Act.OPERATOR, "tape-banned", f"FTS cancelled the job: {said}", alarm=True)
    return Decision(Act.OPERATOR, "job-cancelled", f"Somebody cancelled the job at FTS: {said}")


def _on_failure(job: TapeJob, reason: Reason, expected: Expected) -> Decision:
    said = job.reason or "no reason given"
    if reason.errno == EEXIST:
        return _on_existing(job.at_destination, expected, said)
    if "archive timeout" in reason.text:
        return Decision(Act.MONITOR, "archive-timeout", f"Copied, but not on tape in FTS's time: {said}")
    if reason.scope == "ARCHIVING" and reason.errno == 110:
        return Decision(Act.MONITOR, "archive-timeout", f"Copied, but not on tape in FTS's time: {said}")
    if reason.scope == "ARCHIVING":
        return Decision(Act.INSPECT, "archiving-error", f"The tape system complains: {said}")
    if reason.scope == "SOURCE" and "checksum do not match" in reason.text:
        message = f"The AIP in the object store or its entry in the registry is damaged: {said}"
        return Decision(Act.OPERATOR, "source-damaged", message, alarm=True, check_source=True)
    if reason.scope == "DESTINATION" and ("checksum do not match" in reason.text or "size mismatch" in reason.text):
        return Decision(Act.RESUBMIT, COPY_DAMAGED, f"The copy was damaged and removed by FTS: {said}")
    if "proxy expired" in reason.text.lower() or "certificate has expired" in reason.text:
        return Decision(Act.RESUBMIT, "proxy-expired", f"Our credential expired on the way: {said}", alarm=True)
    if reason.scope == "SOURCE" and reason.errno in (2, 13):
        message = f"FTS cannot read the AIP; the gateway, the store or the registry is at fault: {said}"
        if reason.errno == 2:
            return Decision(Act.OPERATOR, "source-missing", message, alarm=True, check_source=True)
        return Decision(Act.RESUBMIT, "source-closed", message, alarm=True)
    if job.recoverable or reason.errno in PASSING:
        return Decision(Act.RESUBMIT, "transfer-failed", f"The transfer failed and may succeed later: {said}")
    return Decision(Act.OPERATOR, "transfer-failed", f"The transfer failed for good: {said}")


def _on_existing(there: Residency | None, expected: Expected, said: str) -> Decision:
    if there is None or there.size is None or there.adler32 is None:
        return Decision(Act.INSPECT, "destination-exists", f"There is a file at the destination: {said}")
    if (there.size, there.adler32) != (expected.size, expected.adler32):
        return Decision(Act.OPERATOR, "destination-differs", _differs(there, expected), alarm=True)
    if there.on_tape:
        return Decision(Act.INSPECT, "already-archived", "The file is at the destination already")
    return Decision(Act.MONITOR, "already-copied", "The file is at the destination already, not yet on tape")


def on_residency(
    found: Residency | None,
    expected: Expected,
    *,
    waited: timedelta,
    patience: timedelta,
    complaints: int = 0,
) -> Decision:
    """What the tape endpoint's own word asks for; only this makes a copy count (fts-cta.md 1.4).

    `waited` is the time since the file was first seen on disk, `complaints` how often in a row the endpoint has
    said that the file will not reach tape.
    """
    if found is None or found.error == "UNAVAILABLE":
        why = f": {found.said}" if found is not None and found.said else ""
        return Decision(Act.WAIT, "residency-unknown", f"The tape endpoint does not say where the file is{why}")
    if found.error == "LOST":
        return Decision(Act.OPERATOR, "lost-on-tape", "The tape system has lost the file", alarm=True)
    if not (found.on_disk or found.on_tape):
        message = f"The file is not in the tape system: {found.error or 'no locality'}"
        return Decision(Act.RESUBMIT, "not-at-destination", message)
    if found.size != expected.size or (found.adler32 or expected.adler32) != expected.adler32:
        return Decision(Act.OPERATOR, "destination-differs", _differs(found, expected), alarm=True)
    if found.on_tape and found.adler32 is None:
        message = "The tape endpoint gives no ADLER32; the copy cannot be confirmed"
        return Decision(Act.OPERATOR, "checksum-unavailable", message)
    if found.on_tape:
        return Decision(Act.DONE, "on-tape")
    if found.error and complaints + 1 >= COMPLAINTS:
        message = f"The file is on the disk buffer and will not reach tape: {found.error}"
        return Decision(Act.OPERATOR, "archiving-error", message, alarm=True)
    if waited > patience:
        message = f"The file is on the disk buffer for {waited.days} days and not on tape"
        return Decision(Act.OPERATOR, "not-on-tape", message, alarm=True)
    return Decision(Act.MONITOR, "archiving-error" if found.error else "on-disk", found.error or "")


def damaged_again(decision: Decision) -> Decision:
    """The decision when another copy of the same AIP was damaged too: what it is made of may be, for the gateway tells
    FTS the checksum in the registry, and FTS reads nothing to compare with it."""
    message = f"{decision.message}. It is not the first: our own copy in the object store is read and compared too"
    return replace(decision, message=message, alarm=True, check_source=True)


def next_look(now: datetime, looks: int, first: float, longest: float) -> datetime:
    """When to look again: the interval doubles with every look in vain."""
    return now + timedelta(seconds=min(first * 2.0 ** min(looks, 20), longest))


def _differs(there: Residency, expected: Expected) -> str:
    return (
        f"The file at the destination is another one ({there.size} bytes, ADLER32 {there.adler32}; expected "
        f"{expected.size} bytes, ADLER32 {expected.adler32}); nothing was overwritten"
    )
