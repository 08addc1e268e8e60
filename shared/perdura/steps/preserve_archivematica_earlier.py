"""What earlier attempts sent to an Archivematica, and whether it may still live: nothing is sent beside that (6.1).

What was taken over is an AIP of the Archive already, and no concern of a new version: that gets a transfer of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from perdura.errors import Broken, Rejected
from perdura.fleet import GONE, Archivematica, Fleet, Submission, UnitState
from perdura.outcome import ArchiveView
from perdura.ports import Ports
from perdura.steps.preserve_archivematica_decisions import Patience
from perdura.steps.preserve_archivematica_told import patience_of

FOLLOWED = "followed by a later attempt"
"""Outcome of a submission whose transfer another one follows now."""
GIVEN_UP = frozenset({"archivematica-lost", "archivematica-unaccounted"})
"""Outcomes after which a person who tries again has seen that nothing lives of what the dashboard does not show."""
CLOCKS_APART = timedelta(minutes=5)
"""How far the clock of a Storage Service may be behind."""


def taken_up(archive: ArchiveView, size: int, fleet: Fleet, ports: Ports) -> Submission:
    """The submission of this step, of `size` bytes; until it was sent it goes on with what an earlier left alive.

    Raises Rejected for an instance that does not exist, ArchivematicaUnavailable or Broken when it cannot be known
    whether something lives: nothing may be sent then.
    """
    wanted = archive.step.input.get("instance")
    if wanted is not None and wanted not in fleet.instances:
        raise Rejected(f"There is no Archivematica called {str(wanted)[:80]!r}.", code="no-such-archivematica")
    mine = fleet.book.of_step(archive.step.id)
    if mine is not None and mine.state != "queued":
        return mine
    now, patience = ports.clock.now(), patience_of(ports.settings)
    alive = living(archive, fleet.book.earlier(archive.id, archive.step.id), fleet, patience, now)
    mine = mine or fleet.book.queue(archive.id, archive.step.id, size, wanted)
    if alive is not None:
        # The name of this row stays unused: what lives already is followed under the name it was sent with.
        state = "unsure" if alive.transfer is None else "followed"
        mine = replace(alive, id=mine.id, step=mine.step, name=mine.name, state=state, tries=0, outcome=None)
        mine = replace(mine, path=alive.sent_as, moved_at=now)
        fleet.book.note(mine)
        fleet.book.note(replace(alive, state="closed", outcome=FOLLOWED))
    elif mine.configuration is None and (wish := archive.step.input.get("configuration")) is not None:
        mine = replace(mine, configuration=str(wish)[:16])
        fleet.book.note(mine)
    return mine


def living(
    archive: ArchiveView, earlier: Sequence[Submission], fleet: Fleet, patience: Patience, now: datetime
) -> Submission | None:
    """The newest of them that may live and has not become an AIP of the Archive; `earlier` comes newest first.

    What was sent before one that has become an AIP belongs to that version, and is no concern of the next.
    """
    known = {package.id for package in archive.packages}
    judged: set[str] = set()
    for each in earlier:
        # Of what one attempt took on from another, the last of them knows most.
        if each.sent_as in judged:
            continue
        judged.add(each.sent_as)
        if each.sip in known:
            return None
        if _lives(each, fleet, patience, now):
            return each
    return None


def key_of(submission: Submission, fleet: Fleet) -> str:
    """The idempotency key with which a submission's transfer was asked for, be it by an earlier attempt."""
    if submission.path in (None, submission.name):
        return str(submission.id)
    earlier = fleet.book.earlier(submission.archive, submission.step)
    return str(next((each.id for each in earlier if each.name == submission.path), submission.id))


def seen_as(submission: Submission, archivematica: Archivematica) -> Literal["stored", "waiting"] | None:
    """As what a submission is seen whose transfer is not known: as an AIP, or as a unit that waits for a person."""
    if stored_of(submission, archivematica) is not None:
        return "stored"
    return "waiting" if submission.sent_as in archivematica.waiting() else None


def stored_of(submission: Submission, archivematica: Archivematica) -> UUID | None:
    """The id of the AIP that the Storage Service has of a submission, whatever the dashboard knows of it."""
    if submission.sip is not None:
        record = archivematica.package(submission.sip)
        return submission.sip if record is not None and record.status not in GONE else None
    since = submission.sent_since - CLOCKS_APART
    return next((each.id for each in archivematica.stored_as(submission.sent_as, since)), None)


def _lives(earlier: Submission, fleet: Fleet, patience: Patience, now: datetime) -> bool:
    """Whether an Archivematica works at, has finished, or may yet begin what an earlier attempt sent.

    What it shows nothing of may be queued there (400 says no more, 3.5): that ends with the patience, or when a person
    was told. What the dashboard has forgotten may lie in the Storage Service.
    """
    if earlier.state == "flawed":
        return False
    patient = (now - earlier.last_sign).total_seconds() <= patience.silence(earlier)
    archivematica = fleet.instances.get(earlier.instance or "")
    if archivematica is None:
        if earlier.outcome is None and patient:
            message = f"The Archivematica {earlier.instance!r} that may work at this package is not configured."
            raise Broken(message, code="no-such-archivematica")
        return False
    may_be_queued = patient if earlier.outcome is None else earlier.outcome not in GIVEN_UP
    if earlier.transfer is None:
        return seen_as(earlier, archivematica) is not None or may_be_queued
    unit = archivematica.status(*earlier.unit)
    if unit.state is UnitState.NO_STATUS:
        return may_be_queued
    if unit.state is UnitState.UNKNOWN:
        return stored_of(earlier, archivematica) is not None
    if unit.state is UnitState.COMPLETE and earlier.sip is not None:
        record = archivematica.package(earlier.sip)
        return record is None or record.status not in GONE
    return unit.state in {UnitState.PROCESSING, UnitState.USER_INPUT, UnitState.COMPLETE} and unit.sip != "BACKLOG"
