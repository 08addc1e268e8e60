"""Sends a SIP to an Archivematica: a place, the copy, the checks, the request (archivematica.md 6.1)."""

from __future__ import annotations

import logging
from dataclasses import replace

from perdura.errors import Broken, PerduraError, Rejected
from perdura.fleet import (
    Ambiguous,
    Archivematica,
    ArchivematicaRefused,
    ArchivematicaUnavailable,
    Fleet,
    NotSent,
    Start,
    StillPending,
    Submission,
)
from perdura.outcome import Outcome, StepState
from perdura.ports import Ports
from perdura.steps import preserve_archivematica_source as source
from perdura.steps.preserve_archivematica_told import checkpoint_of, fleet_of, instance_of, waiting
from perdura.storage.timed import TimeUp

log = logging.getLogger(__name__)
QUEUE_SECONDS = 5.0
TRIES = 5
"""Requests that an Archivematica refused without having begun anything, before a person is asked."""


def reserved(submission: Submission, fleet: Fleet) -> Submission | str:
    """The submission with a place kept at an instance, or the reason why there is none now; raises Broken."""
    offers = [
        archivematica.terms
        for name, archivematica in fleet.instances.items()
        if submission.wanted in (None, name) and name not in submission.refused
    ]
    if not offers:
        raise Broken("No Archivematica is configured that could take the package.", code="no-archivematica")
    if all(terms.bytes is not None and terms.bytes < submission.size for terms in offers):
        raise Broken(
            f"The package has {submission.size} bytes, more than any Archivematica may have at a time.",
            code="too-large-for-archivematica",
        )
    return fleet.book.reserve(submission, offers)


def send(submission: Submission, consignment: source.Consignment, ports: Ports) -> Outcome:
    """Place the SIP, check everything, write down that it will be asked for, and ask.

    Placing may take long: a step that was cancelled meanwhile sends nothing, for another attempt may have.
    Raises TimeUp when there is no time to place it: it is queued again then.
    """
    fleet = fleet_of(ports)
    archivematica = instance_of(submission, fleet)
    start = source.start_of(submission, consignment, archivematica.terms)
    try:
        source.place(submission, consignment, archivematica.terms, ports)
        source.check(archivematica, start, consignment.sip, ports)
    except TimeUp:
        fleet.book.note(replace(submission, state="queued", instance=None))
        raise
    except (ArchivematicaUnavailable, ArchivematicaRefused) as error:
        return put_back(submission, ports, error)
    except Broken as error:
        return elsewhere(submission, ports, error)
    except Rejected as error:
        fleet.book.note(replace(submission, state="closed", outcome=error.code))
        raise
    asking = replace(submission, state="unsure", path=submission.name, sent_at=ports.clock.now(), moved_at=None)
    asking = replace(asking, configuration=start.configuration)
    if not fleet.book.sending(asking):
        return Outcome(StepState.BLOCKED, error_code="not-sent", message="The step was over before it was sent.")
    try:
        return asked(asking, start, str(submission.id), archivematica, ports)
    except Ambiguous as error:
        return unsure(asking, ports, error)
    except (NotSent, ArchivematicaRefused) as error:
        return put_back(submission, ports, error)


def asked(submission: Submission, start: Start, key: str, archivematica: Archivematica, ports: Ports) -> Outcome:
    """Ask for the transfer, under an idempotency key.

    Raises Ambiguous when it may or may not have begun; NotSent and ArchivematicaRefused when this request began
    nothing, though an earlier one may have.
    """
    book = fleet_of(ports).book
    transfer = archivematica.start(start, key)
    submission = replace(submission, state="followed", transfer=transfer, moved_at=ports.clock.now())
    book.note(submission)
    book.met(archivematica.terms.name, None)
    return waiting(submission, ports, "queued-in-archivematica")


def unsure(submission: Submission, ports: Ports, error: Ambiguous) -> Outcome:
    """The answer was lost: it is looked for later, and never asked for again under another key.

    A request that is still pending says nothing against its Archivematica: that may stay so for one alone.
    """
    name = submission.instance or ""
    if not isinstance(error, StillPending):
        fleet_of(ports).book.met(name, error.message)
    log.warning("%s: %s", name, error.message, extra={"archive": submission.archive})
    return waiting(submission, ports, "archivematica-unsure", error.message)


def elsewhere(submission: Submission, ports: Ports, error: Broken) -> Outcome:
    """An instance is not as it must be: back into the queue, for any but that one.

    Raises the error when there is no other, or that one was wished for. A configuration that was wished for says
    nothing of the instance that does not have it.
    """
    fleet, name = fleet_of(ports), submission.instance or ""
    if submission.configuration is None:
        fleet.book.ended(name, error.code, error.message)
    refused = (*submission.refused, name)
    if submission.wanted is not None or set(fleet.instances) <= set(refused):
        fleet.book.note(replace(submission, state="closed", outcome=error.code, refused=refused))
        raise error
    log.warning("%s: %s", name, error.message, extra={"archive": submission.archive})
    again = replace(submission, state="queued", instance=None, refused=refused)
    fleet.book.note(again)
    try:
        source.clear(submission, instance_of(submission, fleet).terms, ports)
    except (PerduraError, OSError) as left:
        log.warning("not tidied up: %s", left, extra={"archive": submission.archive})
    return Outcome(StepState.QUEUED, checkpoint=checkpoint_of(again))


def put_back(submission: Submission, ports: Ports, error: PerduraError) -> Outcome:
    """Nothing was begun: back into the queue, for whichever instance takes it."""
    book = fleet_of(ports).book
    book.met(submission.instance or "", error.message)
    tries = submission.tries + 1
    if tries >= TRIES:
        book.note(replace(submission, state="closed", outcome=error.code, tries=tries, sent_at=None))
        return Outcome(StepState.BLOCKED, error_code=error.code, message=f"{error.message} ({tries} times)")
    again = replace(submission, state="queued", instance=None, sent_at=None, path=None, tries=tries)
    book.note(again)
    return waiting(again, ports, error.code, error.message, QUEUE_SECONDS * 2**tries)
