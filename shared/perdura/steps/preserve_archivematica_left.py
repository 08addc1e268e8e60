"""What steps that are over left in Archivematicas: looked at until it is over too, for it takes up room there.

A step that is cancelled cannot take its transfer back: Archivematica works on. Nobody waits for that, but its place is
free only when it has ended, or shows no life for as long as is granted to any other (archivematica.md 3).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from perdura.errors import PerduraError
from perdura.fleet import Archivematica, Fleet, Submission
from perdura.steps.preserve_archivematica_decisions import Act, Patience, noted, on_unit
from perdura.steps.preserve_archivematica_earlier import seen_as

log = logging.getLogger(__name__)
MOST = 50
"""Submissions looked at in one round, those that were not for the longest time first."""


def look_after(fleet: Fleet, patience: Patience, now: datetime) -> None:
    """Look at what is left, and close what is over; an instance that does not answer is left alone in this round."""
    unanswering: set[str] = set()
    for each in fleet.book.left(MOST):
        archivematica = fleet.instances.get(each.instance or "")
        if archivematica is None or archivematica.terms.name in unanswering:
            continue
        try:
            fleet.book.note(_looked_at(each, archivematica, patience, now))
        except PerduraError as error:
            log.warning("%s: %s", archivematica.terms.name, error.message, extra={"archive": each.archive})
            unanswering.add(archivematica.terms.name)


def _looked_at(left: Submission, archivematica: Archivematica, patience: Patience, now: datetime) -> Submission:
    if left.state == "reserved":
        return _closed(left, "not-sent")
    if left.state == "stored":
        return _closed(left, "ingested")
    if left.transfer is None:
        return _unsure(left, archivematica, patience, now)
    unit = archivematica.status(*left.unit)
    decision = on_unit(left, unit, now, patience)
    left = noted(left, unit, now)
    match decision.act:
        case Act.WAIT:
            return left
        case Act.INGEST:
            return left.ingested(unit, now)
        case _:
            return _closed(left, decision.code)


def _unsure(left: Submission, archivematica: Archivematica, patience: Patience, now: datetime) -> Submission:
    silent = (now - left.sent_since).total_seconds()
    match seen_as(left, archivematica):
        case "stored":
            return _closed(left, "ingested")
        case "waiting":
            return left if silent <= patience.decision else _closed(left, "decision-overdue")
        case _:
            return left if silent <= patience.silence(left) else _closed(left, "archivematica-unaccounted")


def _closed(left: Submission, outcome: str) -> Submission:
    return replace(left, state="closed", outcome=outcome)
