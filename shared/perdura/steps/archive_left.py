"""Calls off the jobs that cancelled steps left at FTS, and tells how they ended (fts-cta.md 2.11, 10.2).

A step that a person cancels is over at once, whether FTS answers or not. Its job is called off afterwards, at every
tick until FTS has said how it ended: asking again changes nothing. A job that another Archive still waits for is none
of these. What reached tape before counts as the copy it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from perdura.errors import PerduraError
from perdura.outcome import ArchiveView, Copy, Fact
from perdura.ports import LeftCopy, LeftJob, Ports, Residency, TapeJob, TapeSystem
from perdura.premis.model import FAILURE, WARNING, Event
from perdura.steps.archive_events import Told
from perdura.steps.archive_outcomes import completed
from perdura.steps.archive_transfer import Transfer

log = logging.getLogger(__name__)
MOST = 200
"""Jobs called off in one round: one request to FTS."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What is to be recorded for one AIP of a job that is over."""

    archive: ArchiveView
    events: tuple[Event, ...]
    copies: tuple[Copy, ...] = ()
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A job, what FTS said of it (None: nothing), and how it ended for each AIP; empty while it has not."""

    job: LeftJob
    found: TapeJob | None
    ended: tuple[Ended, ...]


def call_off(left: Sequence[LeftJob], tape: TapeSystem, ports: Ports) -> list[Looked]:
    """Cancel the jobs and look how they are; the same jobs may be given again.

    Where the tape system does not answer nothing is over, until the patience with it has run out.
    """
    found: Mapping[str, TapeJob] = {}
    there: Mapping[str, Residency] = {}
    try:
        found = _cancelled(left, tape, ports)
        over = [job.path for job in left if _is_over(found[job.key])]
        there = tape.residency(over, ports.deadline) if over else {}
    except PerduraError as error:
        log.warning("jobs of cancelled steps: %s", error.message)
    return [_looked(job, found.get(job.key), there.get(job.path), tape, ports) for job in left]


def _cancelled(left: Sequence[LeftJob], tape: TapeSystem, ports: Ports) -> dict[str, TapeJob]:
    ids = {job.key: job.job_id or job.asked_as or tape.job_id(job.key) for job in left}
    try:
        tape.cancel(list(ids.values()), ports.deadline)
    except PerduraError as error:
        # What cannot be called off may be over by itself.
        log.warning("jobs of cancelled steps are not called off: %s", error.message)
    found = tape.jobs(list(ids.values()), ports.deadline)
    account = tape.account()
    return {
        job.key: found[ids[job.key]]
        if job.account in (None, account) or found[ids[job.key]].state != "unknown"
        else TapeJob(ids[job.key], "elsewhere", f"asked of {job.account.server} as {job.account.holder}")
        for job in left
    }


def _is_over(found: TapeJob) -> bool:
    return found.state in ("cancelled", "failed", "finished", "unknown")


def _looked(job: LeftJob, found: TapeJob | None, there: Residency | None, tape: TapeSystem, ports: Ports) -> Looked:
    now = ports.clock.now()
    patience = timedelta(days=ports.settings.tape_patience_days)
    end = how_it_ended(found, there, given_up=now - job.since > patience)
    if end is None:
        return Looked(job, found, ())
    log.info("%s called off: %s", job.key, end)
    return Looked(job, found, tuple(_ended(job, copy, found, there, end, tape, ports) for copy in job.copies))


def how_it_ended(found: TapeJob | None, there: Residency | None, *, given_up: bool) -> str | None:
    """The end of a job that was called off, in words; None while it is not known, unless we have `given_up`."""
    if found is None or not _is_over(found) or there is None or there.error == "UNAVAILABLE":
        if not given_up:
            return None
        said = "FTS did not answer" if found is None else f"FTS says: {found.state} {found.reason or ''}".rstrip()
        return f"how it ended is not known; {said}"
    state = "FTS no longer knows it" if found.state == "unknown" else f"FTS says: {found.state}"
    reason = f" ({found.reason})" if found.reason else ""
    if there.on_tape:
        return f"{state}{reason}; a file is on tape"
    if there.on_disk:
        return f"{state}{reason}; a file is on the disk of the tape system, and may still reach tape"
    return f"{state}{reason}; no file is at the destination"


def _ended(
    job: LeftJob,
    copy: LeftCopy,
    found: TapeJob | None,
    there: Residency | None,
    end: str,
    tape: TapeSystem,
    ports: Ports,
) -> Ended:
    aip = copy.archive.package_of_id(copy.package)
    if aip is None:
        return Ended(copy.archive, ())
    job_id = job.job_id or (found.job_id if found else None)
    transfer = Transfer(copy.archive, aip, job.path, job.size, job.adler32 or "", job=job_id, slot=copy.slot)
    arrived = there is not None and there.on_tape and (there.size, there.adler32) == (job.size, job.adler32)
    event = Told(copy.archive, aip, ports.clock.now()).event(
        f"called-off {job.key}",
        "replication",
        (f"copy to tape: {tape.uri(job.path)}, FTS job {job_id or 'none'}", f"called off by {job.by}"),
        WARNING if arrived else FAILURE,
        (f"cancelled: {end}{', and counts as a copy: it was there before' if arrived else ''}"[:2000],),
    )
    if not arrived or there is None:
        return Ended(copy.archive, (event,))
    whole = completed(transfer, there, False, tape, ports)
    return Ended(copy.archive, (event, *whole.events), tuple(whole.copies), tuple(whole.facts))
