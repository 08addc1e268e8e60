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
    Terms,
)
from perdura.outcome import Outcome, StepState
from perdura.ports import Ports
from perdura.steps import preserve_archivematica_source as source
from perdura.steps.preserve_archivematica_copy import KEY, Placing, Unfinished, give_up
from perdura.steps.preserve_archivematica_told import checkpoint_of, fleet_of, instance_of, waiting
from perdura.steps.preserve_outsized import has_job
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


def send(submission: Submission, consignment: source.Consignment, placing: Placing, ports: Ports) -> Outcome:
    """Place the SIP, check everything, write down that it will be asked for, and ask.

    Placing may take several invocations, of which the last left off at `placing`: a step that was cancelled meanwhile
    sends nothing, for another attempt may have. Raises TimeUp when there is no time for what cannot be divided: it is
    queued again then, or keeps its place for a Job that has more.
    """
    fleet = fleet_of(ports)
    archivematica = instance_of(submission, fleet)
    start = source.start_of(submission, consignment, archivematica.terms)
    try:
        base = source.base_of(consignment, ports)
        source.place(submission, consignment, base, archivematica.terms, placing, ports)
        source.check(archivematica, start, ports)
    except Unfinished as up:
        return Outcome(StepState.QUEUED, checkpoint={**checkpoint_of(submission), KEY: up.placing.to_json()})
    except TimeUp:
        if has_job(ports):
            # The place is kept for it: it would be counted as one that failed if it found none.
            raise
        fleet.book.note(replace(submission, state="queued", instance=None))
        if not placing.done:
            # Else the checkpoint says of members that they are there.
            removed(submission, archivematica.terms, placing, ports)
        raise
    except (ArchivematicaUnavailable, ArchivematicaRefused) as error:
        removed(submission, archivematica.terms, placing, ports)
        return put_back(submission, ports, error)
    except Broken as error:
        return elsewhere(submission, placing, ports, error)
    except Rejected as error:
        fleet.book.note(replace(submission, state="closed", outcome=error.code))
        removed(submission, archivematica.terms, placing, ports)
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
        removed(submission, archivematica.terms, placing, ports)
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


def removed(submission: Submission, terms: Terms, placing: Placing, ports: Ports) -> None:
    """Remove what was placed where it will not be read, as a courtesy: that it stays harms nobody."""
    try:
        give_up(terms.source_bucket, placing, ports)
        source.clear(submission, terms, ports)
    except (PerduraError, OSError) as left:
        log.warning("not tidied up: %s", left, extra={"archive": submission.archive})


def elsewhere(submission: Submission, placing: Placing, ports: Ports, error: Broken) -> Outcome:
    """An instance is not as it must be: back into the queue, for any but that one.

    Raises the error when there is no other, or that one was wished for. A configuration that was wished for says
    nothing of the instance that does not have it.
    """
    fleet, name = fleet_of(ports), submission.instance or ""
    if submission.configuration is None:
        fleet.book.ended(name, error.code, error.message)
    refused = (*submission.refused, name)
    removed(submission, instance_of(submission, fleet).terms, placing, ports)
    if submission.wanted is not None or set(fleet.instances) <= set(refused):
        fleet.book.note(replace(submission, state="closed", outcome=error.code, refused=refused))
        raise error
    log.warning("%s: %s", name, error.message, extra={"archive": submission.archive})
    again = replace(submission, state="queued", instance=None, refused=refused)
    fleet.book.note(again)
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
