"""What became of a request to an Archivematica whose answer was lost: looked for, never simply repeated (6.1)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from perdura.fleet import Ambiguous, Archivematica, Stage, StillPending, Submission, UnitState
from perdura.outcome import ArchiveView, Outcome, StepState
from perdura.ports import Ports
from perdura.steps import preserve_archivematica_source as source
from perdura.steps.preserve_archivematica_decisions import Act, Decision
from perdura.steps.preserve_archivematica_earlier import key_of, stored_of
from perdura.steps.preserve_archivematica_send import asked, unsure
from perdura.steps.preserve_archivematica_told import (
    checkpoint_of,
    ended,
    fleet_of,
    patience_of,
    waiting,
    with_link,
)


def look_for(
    archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports, taking_none: set[str]
) -> Outcome:
    """Find out what became of a request whose answer was lost; it is never simply repeated (6.1).

    Under its idempotency key it can be asked again, but not for ever: the key may be pending for 90 days (1.2).
    Instances that turn out to take no transfers are added to `taking_none`: they may say so after half a minute each,
    and are not asked in this round again.
    """
    silent = (ports.clock.now() - submission.sent_since).total_seconds()
    overdue = silent > patience_of(ports.settings).silence(submission)
    if archivematica.probe().idempotent and not overdue:
        return _ask_again(archive, submission, archivematica, ports, taking_none)
    aip = stored_of(submission, archivematica)
    if aip is not None:
        return found(submission, aip, ports)
    asking = as_asking(submission, archivematica, ports)
    if asking is not None:
        return asking
    if overdue:
        message = (
            f"Whether {archivematica.terms.name} began this package when it was asked is not known, and it shows "
            "nothing of it. See in the dashboard that no transfer of that name lives before trying again: "
            f"{submission.sent_as}."
        )
        return ended(submission, ports, Decision(Act.BLOCK, "archivematica-unaccounted", message, blames=True))
    return waiting(submission, ports, "archivematica-unsure", "", ports.settings.archivematica_poll_longest)


def _ask_again(
    archive: ArchiveView, submission: Submission, archivematica: Archivematica, ports: Ports, taking_none: set[str]
) -> Outcome:
    name = archivematica.terms.name
    if name in taking_none:
        return waiting(submission, ports, "archivematica-unsure", "", ports.settings.archivematica_poll_longest)
    sent = replace(submission, name=submission.sent_as)
    start = source.start_of(sent, source.consignment_of(archive), archivematica.terms)
    try:
        return asked(submission, start, key_of(submission, fleet_of(ports)), archivematica, ports)
    except Ambiguous as error:
        if not isinstance(error, StillPending):
            taking_none.add(name)
        return unsure(submission, ports, error)


def as_asking(submission: Submission, archivematica: Archivematica, ports: Ports) -> Outcome | None:
    """Follow the unit that waits for a person under the name of the submission; None when none does but the known one.

    A directory that is not approved by itself waits as another unit than the one that was told, of which nothing is
    heard again (archivematica.md 1.7).
    """
    unit, question = archivematica.waiting().get(submission.sent_as, (None, ""))
    if unit is None or unit == submission.transfer:
        return None
    status = str(UnitState.USER_INPUT)
    submission = replace(submission, state="followed", status=status, microservice=question, moved_at=ports.clock.now())
    if archivematica.status(Stage.TRANSFER, unit).state is UnitState.UNKNOWN:
        submission = replace(submission, sip=unit)
    else:
        submission = replace(submission, transfer=unit)
    fleet_of(ports).book.note(submission)
    message = with_link(f"Archivematica waits for a decision: {question}", submission, archivematica)
    return waiting(submission, ports, "decision-needed", message, ports.settings.archivematica_poll_longest)


def found(submission: Submission, aip: UUID, ports: Ports) -> Outcome:
    """The Storage Service has its AIP: that is taken over, whatever the dashboard says."""
    submission = replace(submission, state="stored", sip=aip, moved_at=ports.clock.now())
    fleet_of(ports).book.note(submission)
    return Outcome(StepState.QUEUED, checkpoint=checkpoint_of(submission))
