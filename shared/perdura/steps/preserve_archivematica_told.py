"""What a step tells of a submission to an Archivematica: that it waits, for what, and how it ended."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from perdura.errors import Broken
from perdura.fleet import Archivematica, Fleet, Submission
from perdura.outcome import Finding, Outcome, StepState
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps.preserve_archivematica_decisions import Act, Decision, Patience, next_interval

log = logging.getLogger(__name__)
CODE = "archivematica"


def fleet_of(ports: Ports) -> Fleet:
    """The fleet, with its book; raises Broken where there is none. That no instance is left may be, too."""
    if ports.fleet is None:
        raise Broken("No Archivematica is configured.", code="no-archivematica")
    return ports.fleet


def ended(submission: Submission, ports: Ports, decision: Decision) -> Outcome:
    """The submission is over without an AIP: closed in the book, and told by its cause."""
    book = fleet_of(ports).book
    if decision.blames or decision.act is Act.BLOCK:
        book.met(submission.instance or "", decision.message)
    if decision.code != "archivematica-rejected":
        book.ended(submission.instance or "", decision.code, decision.message)
    book.note(replace(submission, state="closed", outcome=decision.code))
    log.error("%s: %s", decision.code, decision.message, extra={"archive": submission.archive})
    return Outcome(
        StepState.FAILED if decision.act is Act.FAIL else StepState.BLOCKED,
        error_code=decision.code,
        message=decision.message,
        findings=(Finding(decision.code, decision.message),),
        checkpoint=checkpoint_of(submission),
        output={CODE: told(submission)},
    )


def waiting(submission: Submission, ports: Ports, code: str, said: str = "", seconds: float | None = None) -> Outcome:
    """The step waits for `code`; `said` is shown, and `seconds` or its liveliness decide when to look again."""
    now, settings = ports.clock.now(), ports.settings
    pause = (
        timedelta(seconds=seconds)
        if seconds is not None
        else next_interval(submission, now, settings.archivematica_poll_seconds, settings.archivematica_poll_longest)
    )
    return Outcome(
        StepState.WAITING,
        checkpoint=checkpoint_of(submission),
        poll_at=now + pause,
        output={CODE: {"waiting_for": code, **told(submission)}},
        findings=(Finding(code, said, "warning"),) if said else (),
    )


def checkpoint_of(submission: Submission) -> dict[str, str | None]:
    """What the step's checkpoint keeps of a submission."""
    return {"submission": str(submission.id), "name": submission.name, "state": submission.state}


def told(submission: Submission) -> dict[str, str | None]:
    """What the timeline shows of a submission."""
    return {
        "instance": submission.instance,
        "name": submission.sent_as,
        "transfer": str(submission.transfer) if submission.transfer else None,
        "sip": str(submission.sip) if submission.sip else None,
        "status": submission.status,
        "microservice": submission.microservice,
    }


def with_link(message: str, submission: Submission, archivematica: Archivematica) -> str:
    """A message with the address of the unit in the dashboard."""
    if submission.sip is not None:
        return f"{message} — {archivematica.terms.link}/ingest/{submission.sip}/"
    if submission.transfer is not None:
        return f"{message} — {archivematica.terms.link}/transfer/{submission.transfer}/"
    return message


def instance_of(submission: Submission, fleet: Fleet) -> Archivematica:
    """The Archivematica that has the submission; raises Broken when it is no longer configured."""
    found = fleet.instances.get(submission.instance or "")
    if found is None:
        raise Broken(
            f"The Archivematica {submission.instance!r} that has this package is no longer configured.",
            code="no-such-archivematica",
        )
    return found


def patience_of(settings: Settings) -> Patience:
    """How long to wait here."""
    return Patience(
        settings.archivematica_patience_seconds,
        settings.archivematica_bytes_per_second,
        settings.archivematica_decision_hours * 3600,
    )
