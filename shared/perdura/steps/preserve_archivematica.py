"""Preserve by Archivematica: one SIP in, one AIP taken over, never a second transfer while the first may live.

Before anything is asked of an Archivematica it is written into the book of submissions, and what is asked carries a
name that was never used before. A request whose answer is lost is looked for and not repeated. Statuses are polled in
bulk; callbacks only make the next look come sooner (archivematica.md 6).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from perdura.errors import Broken, PerduraError, Rejected
from perdura.fleet import (
    Ambiguous,
    Archivematica,
    ArchivematicaRefused,
    ArchivematicaUnavailable,
    Fleet,
    NotSent,
    Stage,
    Start,
    Submission,
    Unit,
    UnitState,
)
from perdura.outcome import ArchiveView, Finding, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports
from perdura.steps import preserve_archivematica_source as source
from perdura.steps.preserve_archivematica_decisions import (
    RECORD_SECONDS,
    Act,
    Decision,
    Patience,
    cause_of,
    moved,
    next_interval,
    on_unit,
)
from perdura.steps.preserve_archivematica_events import failed_events
from perdura.steps.preserve_takeover import NotYet, take_over

log = logging.getLogger(__name__)
QUEUE_SECONDS = 5.0
TRIES = 5
"""Requests that an Archivematica refused without having begun anything, before a person is asked."""
CODE = "archivematica"
TAKEN = "taken over"
"""Outcome of a submission whose AIP was registered, or is about to be in the same run."""


@dataclass
class Sweep:
    """One round of looks: an instance that did not answer is left alone for the rest of it."""

    fleet: Fleet
    unanswering: dict[str, PerduraError] = field(default_factory=dict)
    full: str | None = None


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Do what takes long: send the SIP, or take the AIP over; otherwise wait.

    FAILED or BLOCKED with the cause by name. Raises Rejected without an accepted SIP, Retryable when the store fails,
    Broken without any Archivematica.
    """
    fleet, sip = _fleet(ports), _sip(archive)
    submission = _taken_up(archive, sip, fleet)
    if submission.state == "queued":
        kept = _reserved(submission, fleet)
        if isinstance(kept, str):
            return _waiting(submission, ports, "archivematica-busy", kept, QUEUE_SECONDS)
        submission = kept
    if submission.state == "reserved":
        return _send(submission, sip, ports)
    if submission.state == "closed" and submission.outcome != TAKEN:
        return _closed(archive, submission)
    if submission.state in {"stored", "closed"}:
        return _take(archive, submission, ports)
    return _look(archive, submission, ports, Sweep(fleet))


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:
    """Look at many waiting submissions, the longest waiting first, within the time there is."""
    sweep = Sweep(_fleet(ports))
    outcomes: list[tuple[ArchiveView, Outcome]] = []
    ordered = sorted(archives, key=lambda each: each.step.created_at.timestamp() if each.step.created_at else 0.0)
    for archive in ordered:
        submission = sweep.fleet.book.of_step(archive.step.id)
        if submission is None or submission.state in {"reserved", "stored", "closed"}:
            outcomes.append((archive, Outcome(StepState.QUEUED, checkpoint=dict(archive.step.checkpoint))))
        elif ports.deadline.near():
            outcomes.append((archive, _waiting(submission, ports, "not-looked", seconds=0)))
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


def _fleet(ports: Ports) -> Fleet:
    if ports.fleet is None or not ports.fleet.instances:
        raise Broken("No Archivematica is configured.", code="no-archivematica")
    return ports.fleet


def _sip(archive: ArchiveView) -> Package:
    sip = archive.package(PackageKind.SIP)
    if sip is None:
        raise Rejected("this Archive has no accepted submission package", code="no-sip")
    return sip


def _taken_up(archive: ArchiveView, sip: Package, fleet: Fleet) -> Submission:
    """The submission of this step; a new attempt goes on with what an earlier one left alive in Archivematica."""
    wanted = archive.step.input.get("instance")
    if wanted is not None and wanted not in fleet.instances:
        raise Rejected(f"There is no Archivematica called {str(wanted)[:80]!r}.", code="no-such-archivematica")
    if (mine := fleet.book.of_step(archive.step.id)) is not None:
        return mine
    earlier = fleet.book.earlier(archive.id, archive.step.id)
    name = str(archive.id) if not earlier else f"{archive.id}-{len(earlier) + 1}"
    mine = fleet.book.queue(archive.id, archive.step.id, name, sip.size, wanted)
    alive = next((each for each in earlier if _lives(each, fleet)), None)
    if alive is not None:
        # The name of this row stays unused: what lives already is followed under the name it was sent with.
        mine = replace(alive, id=mine.id, step=mine.step, name=mine.name, state="unsure", tries=0, outcome=None)
        mine = replace(mine, path=alive.name, moved_at=None)
        if mine.transfer is not None:
            mine = replace(mine, state="followed")
        fleet.book.note(mine)
        fleet.book.note(replace(alive, state="closed", outcome="followed by a later attempt"))
    elif (configuration := archive.step.input.get("configuration")) is not None:
        mine = replace(mine, configuration=str(configuration)[:16])
        fleet.book.note(mine)
    return mine


def _lives(earlier: Submission, fleet: Fleet) -> bool:
    """Whether an Archivematica still works at, or has finished, what an earlier attempt sent.

    A person who tries again after `archivematica-lost` has seen that nothing of it lives. Raises
    ArchivematicaUnavailable when that cannot be asked: nothing may be sent then.
    """
    archivematica = fleet.instances.get(earlier.instance or "")
    if archivematica is None or earlier.sent_at is None:
        return False
    if earlier.transfer is None:
        return bool(archivematica.stored_as(earlier.path or earlier.name, earlier.sent_at - timedelta(minutes=5)))
    unit = archivematica.status(Stage.INGEST if earlier.sip else Stage.TRANSFER, earlier.sip or earlier.transfer)
    return unit.state in {UnitState.PROCESSING, UnitState.USER_INPUT, UnitState.COMPLETE} and unit.sip != "BACKLOG"


def _reserved(submission: Submission, fleet: Fleet) -> Submission | str:
    offers = [
        archivematica.terms for name, archivematica in fleet.instances.items() if submission.wanted in (None, name)
    ]
    if all(terms.bytes is not None and terms.bytes < submission.size for terms in offers):
        raise Broken(
            f"The package has {submission.size} bytes, more than any Archivematica may have at a time.",
            code="too-large-for-archivematica",
        )
    return fleet.book.reserve(submission, offers)


def _look_for_place(submission: Submission, ports: Ports, sweep: Sweep) -> Outcome:
    if sweep.full is not None and submission.wanted is None:
        return _waiting(submission, ports, "archivematica-busy", sweep.full, QUEUE_SECONDS)
    try:
        kept = _reserved(submission, sweep.fleet)
    except Broken as error:
        return Outcome(StepState.BLOCKED, error_code=error.code, message=error.message)
    if isinstance(kept, str):
        if submission.wanted is None:
            sweep.full = kept
        return _waiting(submission, ports, "archivematica-busy", kept, QUEUE_SECONDS)
    return Outcome(StepState.QUEUED, checkpoint={"submission": str(submission.id), "name": submission.name})


def _send(submission: Submission, sip: Package, ports: Ports) -> Outcome:
    """Place the SIP, check everything, write down that it will be asked for, and ask."""
    fleet = _fleet(ports)
    archivematica = _instance(submission, fleet)
    start = source.start_of(submission, sip, archivematica.terms)
    try:
        source.place(submission, sip, archivematica.terms, ports)
        source.check(archivematica, start, sip, ports)
    except (ArchivematicaUnavailable, ArchivematicaRefused) as error:
        return _put_back(submission, ports, error)
    except (Broken, Rejected) as error:
        fleet.book.note(replace(submission, state="closed", outcome=error.code))
        raise
    submission = replace(submission, state="unsure", path=submission.name, sent_at=ports.clock.now(), moved_at=None)
    fleet.book.note(submission)
    return _asked(submission, start, archivematica, ports)


def _asked(submission: Submission, start: Start, archivematica: Archivematica, ports: Ports) -> Outcome:
    book = _fleet(ports).book
    name = archivematica.terms.name
    try:
        transfer = archivematica.start(start, str(submission.id))
    except Ambiguous as error:
        book.met(name, error.message)
        log.warning("%s: %s", name, error.message, extra={"archive": submission.archive})
        return _waiting(submission, ports, "archivematica-unsure", error.message)
    except (NotSent, ArchivematicaRefused) as error:
        return _put_back(replace(submission, tries=submission.tries + 1), ports, error)
    submission = replace(submission, state="followed", transfer=transfer, moved_at=ports.clock.now())
    book.note(submission)
    book.met(name, None)
    return _waiting(submission, ports, "queued-in-archivematica")


def _put_back(submission: Submission, ports: Ports, error: PerduraError) -> Outcome:
    """Nothing was begun: back into the queue, for whichever instance takes it."""
    book = _fleet(ports).book
    book.met(submission.instance or "", error.message)
    tries = submission.tries + (submission.state == "reserved")
    if tries >= TRIES:
        book.note(replace(submission, state="closed", outcome=error.code, tries=tries, sent_at=None))
        return Outcome(StepState.BLOCKED, error_code=error.code, message=f"{error.message} ({tries} times)")
    waiting = replace(submission, state="queued", instance=None, sent_at=None, path=None, tries=tries)
    book.note(waiting)
    return _waiting(waiting, ports, error.code, error.message, QUEUE_SECONDS * 2**tries)


def _closed(archive: ArchiveView, submission: Submission) -> Outcome:
    """The worker that ended this submission died before the step was closed: say the same again."""
    code = submission.outcome or "archivematica-failed"
    message = f"Archivematica could not make an AIP of {archive.id} ({code}); the log of the function says more."
    return Outcome(StepState.BLOCKED, error_code=code, message=message, output={CODE: _told(submission)})


def _look(archive: ArchiveView, submission: Submission, ports: Ports, sweep: Sweep) -> Outcome:
    """One look at what was sent; a look that fails changes nothing but the time of the next."""
    name = submission.instance or ""
    if name in sweep.unanswering:
        return _unanswered(submission, ports, sweep.unanswering[name])
    try:
        archivematica = _instance(submission, sweep.fleet)
        if submission.state == "unsure":
            return _look_for(archive, submission, archivematica, ports)
        return _followed(archive, submission, archivematica, ports)
    except (ArchivematicaUnavailable, ArchivematicaRefused, Broken) as error:
        log.warning("%s: %s", name, error.message, extra={"archive": archive.id})
        sweep.unanswering[name] = error
        sweep.fleet.book.seen(name, None, error.message)
        return _unanswered(submission, ports, error)


def _unanswered(submission: Submission, ports: Ports, error: PerduraError) -> Outcome:
    """Its Archivematica says nothing: the work may go on there, so there is nothing to do but to wait, for long."""
    last = submission.moved_at or submission.sent_at or submission.queued_at
    silent = (ports.clock.now() - last).total_seconds()
    if silent > _patience(ports).silence(submission):
        message = f"{submission.instance} cannot be asked any more: {error.message}"
        return _ended(submission, ports, Decision(Act.BLOCK, error.code, message))
    return _waiting(submission, ports, error.code, error.message, ports.settings.archivematica_poll_longest)


def _followed(archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports) -> Outcome:
    now = ports.clock.now()
    stage, unit_id = (Stage.INGEST, submission.sip) if submission.sip else (Stage.TRANSFER, submission.transfer)
    assert unit_id is not None
    unit = archivematica.status(stage, unit_id)
    decision = on_unit(submission, unit, now, _patience(ports))
    submission = _noted(submission, unit, now)
    match decision.act:
        case Act.INGEST:
            assert unit.sip is not None
            submission = replace(submission, sip=UUID(unit.sip), status="", microservice="", moved_at=now)
            _fleet(ports).book.note(submission)
            return _waiting(submission, ports, decision.code)
        case Act.TAKE:
            _fleet(ports).book.note(replace(submission, state="stored", moved_at=now))
            return Outcome(StepState.QUEUED, checkpoint=_checkpoint(submission))
        case Act.WAIT:
            _fleet(ports).book.note(submission)
            said = _with_link(decision.message, submission, archivematica) if decision.message else ""
            return _waiting(submission, ports, decision.code, said)
        case _:
            jobs = archivematica.failed_jobs(unit_id) if decision.code == "archivematica-failed" else ()
            if decision.code == "archivematica-failed":
                code, words = cause_of(jobs)
                decision = replace(decision, code=code, message=f"{decision.message} ({words})")
            ended = _ended(submission, ports, decision)
            link = _with_link(decision.message, submission, archivematica)
            return replace(ended, events=failed_events(archive, submission, jobs, ports), message=link)


def _noted(submission: Submission, unit: Unit, now: datetime) -> Submission:
    if not moved(submission, unit):
        return submission
    return replace(submission, status=str(unit.state), microservice=unit.microservice, moved_at=now)


def _look_for(archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports) -> Outcome:
    """Find out what became of a request whose answer was lost; it is never simply repeated (6.1)."""
    sent_at = submission.sent_at or submission.queued_at
    sent_as = submission.path or submission.name
    probed = archivematica.probe()
    if probed.idempotent:
        start = source.start_of(replace(submission, name=sent_as), _sip(archive), archivematica.terms)
        return _asked(submission, start, archivematica, ports)
    stored = archivematica.stored_as(sent_as, sent_at - timedelta(minutes=5))
    if stored:
        submission = replace(submission, state="stored", sip=stored[0].id, moved_at=ports.clock.now())
        _fleet(ports).book.note(submission)
        return Outcome(StepState.QUEUED, checkpoint=_checkpoint(submission))
    question = archivematica.waiting().get(sent_as)
    if question is not None:
        message = _with_link(f"Archivematica waits for a decision: {question[1]}", submission, archivematica)
        return _waiting(submission, ports, "decision-needed", message, ports.settings.archivematica_poll_longest)
    silent = (ports.clock.now() - sent_at).total_seconds()
    if silent > _patience(ports).silence(submission):
        message = (
            f"Whether {archivematica.terms.name} began this package when it was asked is not known, and it shows "
            "nothing of it. See in the dashboard that no transfer of that name lives before trying again: "
            f"{sent_as}."
        )
        return _ended(submission, ports, Decision(Act.BLOCK, "archivematica-unaccounted", message, blames=True))
    return _waiting(submission, ports, "archivematica-unsure", "", ports.settings.archivematica_poll_longest)


def _take(archive: ArchiveView, submission: Submission, ports: Ports) -> Outcome:
    archivematica = _instance(submission, _fleet(ports))
    try:
        outcome = take_over(archive, submission, archivematica, ports)
    except NotYet as error:
        since = submission.moved_at or ports.clock.now()
        if (ports.clock.now() - since).total_seconds() > RECORD_SECONDS:
            return _ended(submission, ports, Decision(Act.BLOCK, "not-in-storage-service", error.message))
        return _waiting(submission, ports, "storing", error.message, ports.settings.archivematica_poll_seconds)
    if outcome.state is StepState.QUEUED:
        return replace(outcome, checkpoint={**_checkpoint(submission), **(outcome.checkpoint or {})})
    if outcome.state in {StepState.COMPLETED, StepState.COMPLETED_WITH_WARNINGS}:
        _fleet(ports).book.note(replace(submission, state="closed", outcome=TAKEN))
        _fleet(ports).book.met(archivematica.terms.name, None)
        _tidied(submission, archivematica, ports)
    else:
        _fleet(ports).book.note(replace(submission, state="closed", outcome=outcome.error_code))
    return outcome


def _tidied(submission: Submission, archivematica: Archivematica, ports: Ports) -> None:
    """Courtesies after the work: what they fail to do harms nobody."""
    try:
        if submission.transfer is not None:
            archivematica.hide(Stage.TRANSFER, submission.transfer)
        if submission.sip is not None:
            archivematica.hide(Stage.INGEST, submission.sip)
        source.clear(replace(submission, name=submission.path or submission.name), archivematica.terms, ports)
    except (PerduraError, OSError) as error:
        log.warning("not tidied up: %s", error, extra={"archive": submission.archive})


def _ended(submission: Submission, ports: Ports, decision: Decision) -> Outcome:
    book = _fleet(ports).book
    if decision.blames or decision.act is Act.BLOCK:
        book.met(submission.instance or "", decision.message)
    book.note(replace(submission, state="closed", outcome=decision.code))
    log.error("%s: %s", decision.code, decision.message, extra={"archive": submission.archive})
    return Outcome(
        StepState.FAILED if decision.act is Act.FAIL else StepState.BLOCKED,
        error_code=decision.code,
        message=decision.message,
        findings=(Finding(decision.code, decision.message),),
        checkpoint=_checkpoint(submission),
        output={CODE: _told(submission)},
    )


def _waiting(submission: Submission, ports: Ports, code: str, said: str = "", seconds: float | None = None) -> Outcome:
    now, settings = ports.clock.now(), ports.settings
    pause = (
        timedelta(seconds=seconds)
        if seconds is not None
        else next_interval(submission, now, settings.archivematica_poll_seconds, settings.archivematica_poll_longest)
    )
    return Outcome(
        StepState.WAITING,
        checkpoint=_checkpoint(submission),
        poll_at=now + pause,
        output={CODE: {"waiting_for": code, **_told(submission)}},
        findings=(Finding(code, said, "warning"),) if said else (),
    )


def _checkpoint(submission: Submission) -> dict[str, str | None]:
    return {"submission": str(submission.id), "name": submission.name, "state": submission.state}


def _told(submission: Submission) -> dict[str, str | None]:
    """What the timeline shows of a submission."""
    return {
        "instance": submission.instance,
        "name": submission.path or submission.name,
        "transfer": str(submission.transfer) if submission.transfer else None,
        "sip": str(submission.sip) if submission.sip else None,
        "status": submission.status,
        "microservice": submission.microservice,
    }


def _with_link(message: str, submission: Submission, archivematica: Archivematica) -> str:
    if submission.sip is not None:
        return f"{message} — {archivematica.terms.link}/ingest/{submission.sip}/"
    if submission.transfer is not None:
        return f"{message} — {archivematica.terms.link}/transfer/{submission.transfer}/"
    return message


def _instance(submission: Submission, fleet: Fleet) -> Archivematica:
    found = fleet.instances.get(submission.instance or "")
    if found is None:
        raise Broken(
            f"The Archivematica {submission.instance!r} that has this package is no longer configured.",
            code="no-such-archivematica",
        )
    return found


def _patience(ports: Ports) -> Patience:
    settings = ports.settings
    return Patience(
        settings.archivematica_patience_seconds,
        settings.archivematica_bytes_per_second,
        settings.archivematica_decision_hours * 3600,
    )
