"""Preserve by Archivematica: one SIP in, one AIP taken over, never a second transfer while the first may live.

Before anything is asked of an Archivematica it is written into the book of submissions, and what is asked carries a
name that was never used before. A request whose answer is lost is looked for and not repeated. Statuses are polled in
bulk; callbacks only make the next look come sooner (archivematica.md 6).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from perdura.errors import Broken, PerduraError
from perdura.fleet import (
    AnswerTooLong,
    Archivematica,
    ArchivematicaUnavailable,
    FailedJob,
    Fleet,
    NotSent,
    Stage,
    Submission,
    UnitState,
)
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.ports import Ports
from perdura.steps import preserve_archivematica_source as source
from perdura.steps.preserve_archivematica_copy import placing_of
from perdura.steps.preserve_archivematica_decisions import (
    RECORD_SECONDS,
    Act,
    Decision,
    cause_of,
    noted,
    on_unit,
)
from perdura.steps.preserve_archivematica_earlier import stored_of, taken_up
from perdura.steps.preserve_archivematica_events import failed_events
from perdura.steps.preserve_archivematica_send import QUEUE_SECONDS, reserved, send
from perdura.steps.preserve_archivematica_told import (
    CODE,
    checkpoint_of,
    ended,
    fleet_of,
    instance_of,
    patience_of,
    told,
    waiting,
    with_link,
)
from perdura.steps.preserve_archivematica_unsure import as_asking, found, look_for
from perdura.steps.preserve_takeover import NotYet, take_over

log = logging.getLogger(__name__)
_SENDS_ANEW = "Trying again sends the package anew."
_LOOKS_AGAIN = "Trying again looks at it again; for another one, first have it deleted in the Storage Service."
TAKEN = "taken over"
"""Outcome of a submission whose AIP was registered, or is about to be in the same run."""


@dataclass
class Sweep:
    """One round of looks: an instance that did not answer is left alone for the rest of it.

    One of `taking_none` is not asked for transfers again. `full` says by wish and refusals from how many bytes on there
    was no place, and why: nothing larger that was queued later finds one.
    """

    fleet: Fleet
    taking_none: set[str] = field(default_factory=set)
    unanswering: dict[str, PerduraError] = field(default_factory=dict)
    full: dict[tuple[str | None, frozenset[str]], tuple[int, str]] = field(default_factory=dict)


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Do what takes long: send the SIP, or take the AIP over; otherwise wait.

    FAILED or BLOCKED with the cause by name. Raises Rejected without an accepted SIP, Retryable when the store fails,
    Broken without any Archivematica.
    """
    fleet, consignment = fleet_of(ports), source.consignment_of(archive)
    submission = taken_up(archive, consignment.size, fleet, ports)
    if submission.state == "queued":
        kept = reserved(submission, fleet)
        if isinstance(kept, str):
            return waiting(submission, ports, "archivematica-busy", kept, QUEUE_SECONDS)
        submission = kept
    if submission.state == "reserved":
        placing = placing_of(archive.step.checkpoint, submission.instance or "")
        return send(submission, consignment, placing, ports)
    if submission.state == "flawed" or (submission.state == "closed" and submission.outcome != TAKEN):
        return _closed(archive, submission)
    if submission.state in {"stored", "closed"}:
        return _take(archive, submission, ports)
    return _look(archive, submission, ports, Sweep(fleet))


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:
    """Look at many waiting submissions, in the order in which they were queued, within the time there is."""
    sweep = Sweep(fleet_of(ports))
    outcomes: list[tuple[ArchiveView, Outcome]] = []
    looked_at = [(archive, sweep.fleet.book.of_step(archive.step.id)) for archive in archives]
    for archive, submission in sorted(looked_at, key=lambda each: _turn(each[1])):
        if submission is None or submission.state in {"reserved", "stored", "closed", "flawed"}:
            outcomes.append((archive, Outcome(StepState.QUEUED, checkpoint=dict(archive.step.checkpoint))))
        elif ports.deadline.near():
            outcomes.append((archive, waiting(submission, ports, "not-looked", seconds=0)))
        elif submission.state == "queued":
            outcomes.append((archive, _look_for_place(submission, ports, sweep)))
        else:
            outcomes.append((archive, _look(archive, submission, ports, sweep)))
    return outcomes


def probe(fleet: Fleet) -> None:
    """Ask every instance who it is, so that nothing is sent to one that does not answer."""
    for name, archivematica in fleet.instances.items():
        try:
            fleet.book.seen(name, archivematica.probe())
        except PerduraError as error:
            fleet.book.seen(name, None, error.message)


def _turn(submission: Submission | None) -> tuple[float, str]:
    return (submission.queued_at.timestamp(), str(submission.id)) if submission else (0.0, "")


def _look_for_place(submission: Submission, ports: Ports, sweep: Sweep) -> Outcome:
    kind = submission.wanted, frozenset(submission.refused)
    smallest, why = sweep.full.get(kind, (submission.size + 1, ""))
    if submission.size >= smallest:
        return waiting(submission, ports, "archivematica-busy", why, QUEUE_SECONDS)
    try:
        kept = reserved(submission, sweep.fleet)
    except Broken as error:
        return Outcome(StepState.BLOCKED, error_code=error.code, message=error.message)
    if isinstance(kept, str):
        sweep.full[kind] = submission.size, kept
        return waiting(submission, ports, "archivematica-busy", kept, QUEUE_SECONDS)
    return Outcome(StepState.QUEUED, checkpoint={"submission": str(submission.id), "name": submission.name})


def _closed(archive: ArchiveView, submission: Submission) -> Outcome:
    """The worker that ended this submission died before the step was closed: say the same again."""
    code = submission.outcome or "archivematica-failed"
    message = f"No AIP of {archive.id} was taken over from Archivematica ({code}); the log of the function says more."
    return Outcome(StepState.BLOCKED, error_code=code, message=message, output={CODE: told(submission)})


def _look(archive: ArchiveView, submission: Submission, ports: Ports, sweep: Sweep) -> Outcome:
    """One look at what was sent; a look that fails changes nothing but the time of the next."""
    name = submission.instance or ""
    if name in sweep.unanswering:
        return _unanswered(submission, ports, sweep.unanswering[name])
    try:
        archivematica = instance_of(submission, sweep.fleet)
        if submission.state == "unsure":
            return look_for(archive, submission, archivematica, ports, sweep.taking_none)
        return _followed(archive, submission, archivematica, ports)
    except PerduraError as error:
        log.warning("%s: %s", name, error.message, extra={"archive": archive.id})
        if _answers_nobody(name, error, sweep.fleet):
            sweep.unanswering[name] = error
            sweep.fleet.book.seen(name, None, error.message)
        return _unanswered(submission, ports, error)


def _answers_nobody(name: str, error: PerduraError, fleet: Fleet) -> bool:
    """Whether an instance says nothing at all, or did not to one question: that leaves every other unit untouched."""
    archivematica = fleet.instances.get(name)
    if archivematica is None or isinstance(error, NotSent):
        return True
    try:
        archivematica.probe()
    except PerduraError:
        return True
    return False


def _unanswered(submission: Submission, ports: Ports, error: PerduraError) -> Outcome:
    """Its Archivematica says nothing: the work may go on there, so there is nothing to do but to wait, for long."""
    silent, patience = (ports.clock.now() - submission.last_sign).total_seconds(), patience_of(ports.settings)
    asks = submission.status == UnitState.USER_INPUT
    if silent > max(patience.silence(submission), patience.decision if asks else 0.0):
        message = f"{submission.instance} cannot be asked any more: {error.message}"
        return ended(submission, ports, Decision(Act.BLOCK, error.code, message))
    return waiting(submission, ports, error.code, error.message, ports.settings.archivematica_poll_longest)


def _followed(archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports) -> Outcome:
    now = ports.clock.now()
    stage, unit_id = submission.unit
    unit = archivematica.status(stage, unit_id)
    if unit.state is UnitState.UNKNOWN and (aip := stored_of(submission, archivematica)) is not None:
        return found(submission, aip, ports)
    decision = on_unit(submission, unit, now, patience_of(ports.settings))
    if unit.state is UnitState.NO_STATUS and stage is Stage.TRANSFER and decision.code != "queued-in-archivematica":
        asking = as_asking(submission, archivematica, ports)
        if asking is not None:
            return asking
    submission = noted(submission, unit, now)
    match decision.act:
        case Act.INGEST:
            submission = submission.ingested(unit, now)
            fleet_of(ports).book.note(submission)
            return waiting(submission, ports, decision.code)
        case Act.TAKE:
            fleet_of(ports).book.note(replace(submission, state="stored", moved_at=now))
            return Outcome(StepState.QUEUED, checkpoint=checkpoint_of(submission))
        case Act.WAIT:
            fleet_of(ports).book.note(submission)
            said = with_link(decision.message, submission, archivematica) if decision.message else ""
            return waiting(submission, ports, decision.code, said)
        case _:
            jobs: tuple[FailedJob, ...] = ()
            if decision.code == "archivematica-failed":
                fleet_of(ports).book.note(submission)
                jobs = _failed_jobs(submission, unit_id, archivematica, now)
                code, words = cause_of(jobs)
                decision = replace(decision, code=code, message=f"{decision.message} ({words})")
            outcome = ended(submission, ports, decision)
            link = with_link(decision.message, submission, archivematica)
            return replace(outcome, events=failed_events(archive, submission, jobs, ports), message=link)


def _failed_jobs(
    submission: Submission, unit_id: UUID, archivematica: Archivematica, now: datetime
) -> tuple[FailedJob, ...]:
    """What failed in a unit; nothing when that cannot be had for long: it may be longer than can be read."""
    try:
        return archivematica.failed_jobs(unit_id)
    except ArchivematicaUnavailable as error:
        silent = (now - (submission.moved_at or now)).total_seconds()
        if silent <= RECORD_SECONDS and not isinstance(error, AnswerTooLong):
            raise
        log.warning("failed jobs are not told: %s", error.message, extra={"archive": submission.archive})
        return ()


def _take(archive: ArchiveView, submission: Submission, ports: Ports) -> Outcome:
    archivematica = instance_of(submission, fleet_of(ports))
    try:
        outcome = take_over(archive, submission, archivematica, ports)
    except NotYet as error:
        since = submission.moved_at or ports.clock.now()
        if (ports.clock.now() - since).total_seconds() > RECORD_SECONDS:
            return ended(submission, ports, Decision(Act.BLOCK, "not-in-storage-service", error.message))
        return waiting(submission, ports, "storing", error.message, ports.settings.archivematica_poll_seconds)
    if outcome.state in {StepState.QUEUED, StepState.WAITING}:
        return replace(outcome, checkpoint={**checkpoint_of(submission), **(outcome.checkpoint or {})})
    if outcome.state in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}:
        fleet_of(ports).book.note(replace(submission, state="closed", outcome=TAKEN))
        fleet_of(ports).book.ended(archivematica.terms.name, None)
        _tidied(submission, archivematica, ports)
        return outcome
    is_flawed, code = outcome.state is StepState.FAILED, outcome.error_code or "archivematica-failed"
    fleet_of(ports).book.note(replace(submission, state="flawed" if is_flawed else "closed", outcome=code))
    fleet_of(ports).book.ended(archivematica.terms.name, code, outcome.message or "")
    return replace(outcome, message=f"{outcome.message} {_SENDS_ANEW if is_flawed else _LOOKS_AGAIN}")


def _tidied(submission: Submission, archivematica: Archivematica, ports: Ports) -> None:
    """Courtesies after the work: what they fail to do harms nobody."""
    try:
        if submission.transfer is not None:
            archivematica.hide(Stage.TRANSFER, submission.transfer)
        if submission.sip is not None:
            archivematica.hide(Stage.INGEST, submission.sip)
        source.clear(replace(submission, name=submission.sent_as), archivematica.terms, ports)
    except (PerduraError, OSError) as error:
        log.warning("not tidied up: %s", error, extra={"archive": submission.archive})
