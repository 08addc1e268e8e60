"""Beginning, and beginning again: Archives made from deposits, uploads and harvests; failed steps retried.

Every function works in the caller's transaction and returns the CloudEvents it put into the outbox, so that the caller
can emit them as soon as the transaction is committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.cloudevents.build import build
from perdura.cloudevents.catalogue import request_type
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict, NotFound
from perdura.ids import derived_id, new_id
from perdura.registry import outbox
from perdura.registry.transitions import ERRAND_POSITION, HARVEST_PIPELINE, ArchiveState, check_pipeline

SOURCE = "/perdura/registry"
"""CloudEvents source of what people and programs ask of the registry."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An Archive whose first step (or next attempt) has been asked for, and the CloudEvents that ask."""

    archive: UUID
    events: tuple[CloudEvent, ...]


_LOCK = text("SELECT id FROM archive WHERE id = :archive FOR UPDATE")


def lock(connection: Connection, archive: UUID) -> bool:
    """Hold an Archive to the end of the transaction, once whoever holds it is done; False where there is none.

    Who decides by what is noted of an Archive, and then notes what follows, takes this lock first. All have to take
    the same one, or a withdrawal and the close of a publication undo each other, and a copy is checked or made twice.
    An errand takes it within its statement.
    """
    return connection.execute(_LOCK, {"archive": archive}).one_or_none() is not None


_CREATE = text("""
    WITH archive_created AS (
        INSERT INTO archive (id, title, state, pipeline, origin)
        VALUES (:archive, :title, :state, CAST(:pipeline AS jsonb), :origin)
        ON CONFLICT (id) DO NOTHING RETURNING id
    )
    INSERT INTO step (id, archive_id, name, position, input, poll_at)
    SELECT :step, id, :name, 0, CAST(:input AS jsonb), clock_timestamp() + interval '1 minute' FROM archive_created
    RETURNING id
""")


def create(
    connection: Connection,
    archive: UUID,
    *,
    title: str,
    origin: str,
    pipeline: Sequence[str],
    step_input: Mapping[str, Any],
    source: str = SOURCE,
) -> Begun:
    """Create an Archive and ask for its first step; an Archive of that id that exists already is left alone."""
    check_pipeline(pipeline)
    step = first_step_id(archive)
    made = connection.execute(
        _CREATE,
        {
            "archive": archive,
            "title": title,
            "state": ArchiveState.QUEUED,
            "pipeline": json.dumps(list(pipeline)),
            "origin": origin,
            "step": step,
            "name": pipeline[0],
            "input": json.dumps(dict(step_input)),
        },
    )
    if made.one_or_none() is None:
        return Begun(archive, ())
    return Begun(archive, (ask(connection, archive, step, pipeline[0], 1, source),))


def first_step_id(archive: UUID) -> UUID:
    """The id of the first attempt of an Archive's first step."""
    return derived_id("step", archive, 0, 1)


@dataclass(frozen=True, slots=True)
class HarvestWanted:
    """What is to be harvested, and how (`perdura.steps.harvest.run` says what each member means)."""

    url: str | None = None
    source: str | None = None
    recid: str | None = None
    light: bool = False
    warc: bool = False
    metadata_only: bool = False
    engine: str | None = None
    requested_by: UUID | None = None
    """Account whose credentials are used."""
    scopes: Sequence[str] | None = None
    """What the token may do with which it was asked for; None leaves all that the account may."""

    def step_input(self) -> dict[str, Any]:
        """The input of the step: what was said, nothing else."""
        said = {name: getattr(self, name) for name in self.__dataclass_fields__}
        given = {name: value for name, value in said.items() if value not in (None, False, "")}
        return {name: str(value) if isinstance(value, UUID) else value for name, value in given.items()}


def start_harvest(connection: Connection, wanted: HarvestWanted, *, archive: UUID | None = None) -> Begun:
    """Create an Archive that begins with a harvest. A light one ends with it, until it is completed."""
    return create(
        connection,
        archive or new_id(),
        title=wanted.url or f"{wanted.source} {wanted.recid}",
        origin="harvest",
        pipeline=HARVEST_PIPELINE[:1] if wanted.light else HARVEST_PIPELINE,
        step_input=wanted.step_input(),
    )


_COMPLETE = text("""
    WITH attempt AS (
        INSERT INTO step (id, archive_id, name, position, attempt, input, poll_at)
        SELECT :step, archive_id, name, position, :attempt, input - 'light', clock_timestamp() + interval '1 minute'
        FROM step WHERE id = :before
    )
    UPDATE archive SET state = :state, pipeline = CAST(:pipeline AS jsonb), updated_at = clock_timestamp()
    WHERE id = :archive
""")


def complete(connection: Connection, archive: UUID) -> Begun:
    """Harvest the files that a light package only names, and go on with the whole pipeline.

    Raises NotFound, or Conflict when the Archive is no light harvest that has ended.
    """
    last = connection.execute(_LAST_STEP, {"archive": archive, "errands": ERRAND_POSITION}).one_or_none()
    if last is None:
        raise NotFound("There is no such Archive, or nothing has been done for it yet.")
    if last.name != "harvest" or not last.input.get("light") or not last.state.startswith("completed"):
        raise Conflict("The Archive is no light package whose files are still missing.", code="not-light")
    attempt = last.attempt + 1
    step = derived_id("step", archive, last.position, attempt)
    connection.execute(
        _COMPLETE,
        {
            "step": step,
            "attempt": attempt,
            "before": last.id,
            "archive": archive,
            "state": ArchiveState.RUNNING,
            "pipeline": json.dumps(list(HARVEST_PIPELINE)),
        },
    )
    return Begun(archive, (ask(connection, archive, step, last.name, attempt, SOURCE),))


_LAST_STEP = text("""
    SELECT step.id, step.name, step.position, step.attempt, step.state, step.input, step.checkpoint
    FROM step JOIN archive ON archive.id = step.archive_id
    WHERE step.archive_id = :archive AND step.position < :errands
    ORDER BY step.position DESC, step.attempt DESC LIMIT 1 FOR UPDATE OF archive
""")

_NEW_ATTEMPT = text("""
    WITH attempt AS (
        INSERT INTO step (id, archive_id, name, position, attempt, input, poll_at)
        VALUES (:step, :archive, :name, :position, :attempt, CAST(:input AS jsonb),
                clock_timestamp() + interval '1 minute')
    ), superseded AS (
        UPDATE step SET state = 'cancelled', finished_at = clock_timestamp(), updated_at = clock_timestamp()
        WHERE id = :before AND state = 'blocked'
    )
    UPDATE archive SET state = :state, updated_at = clock_timestamp() WHERE id = :archive
""")


def stuck_at(connection: Connection, archive: UUID) -> str | None:
    """The step of its pipeline at which an Archive failed or is blocked, held to the end of the transaction."""
    last = connection.execute(_LAST_STEP, {"archive": archive, "errands": ERRAND_POSITION}).one_or_none()
    return last.name if last is not None and last.state in {"failed", "blocked"} else None


def retry(connection: Connection, archive: UUID) -> Begun:
    """Ask for the failed or blocked step of an Archive again, as a new attempt.

    Raises NotFound, or Conflict when the Archive's last step is neither failed nor blocked.
    """
    last = connection.execute(_LAST_STEP, {"archive": archive, "errands": ERRAND_POSITION}).one_or_none()
    if last is None:
        raise NotFound("There is no such Archive, or nothing has been done for it yet.")
    if last.state not in {"failed", "blocked"}:
        raise Conflict(f"The step {last.name!r} is {last.state}: only a failed or blocked step can be retried.")
    attempt = last.attempt + 1
    step = derived_id("step", archive, last.position, attempt)
    connection.execute(
        _NEW_ATTEMPT,
        {
            "step": step,
            "archive": archive,
            "name": last.name,
            "position": last.position,
            "attempt": attempt,
            "input": json.dumps(last.input),
            "before": last.id,
            "state": ArchiveState.RUNNING,
        },
    )
    return Begun(archive, (ask(connection, archive, step, last.name, attempt, SOURCE),))


_ERRAND = text("""
    WITH held AS (SELECT id FROM archive WHERE id = :archive FOR UPDATE)
    INSERT INTO step (id, archive_id, name, position, input, poll_at)
    SELECT :step, held.id, :name,
           :first + (SELECT count(*) FROM step WHERE archive_id = :archive AND position >= :first),
           CAST(:input AS jsonb), clock_timestamp() + interval '1 minute' FROM held
    ON CONFLICT (id) DO NOTHING RETURNING id
""")

_HELD_AIP = text("""
    SELECT aip.id, EXISTS (SELECT FROM copy WHERE package_id = aip.id AND location = 'tape') AS on_tape
    FROM archive LEFT JOIN LATERAL (
        SELECT id FROM package
        WHERE archive_id = archive.id AND kind = 'AIP' AND id = coalesce(CAST(:package AS uuid), id)
        ORDER BY accepted DESC, created_at DESC, id DESC LIMIT 1
    ) AS aip ON true
    WHERE archive.id = :archive
""")


@dataclass(frozen=True, slots=True)
class HeldAip:
    """A version of the AIP of an Archive, and whether there is a copy of it on tape."""

    id: UUID
    on_tape: bool


def held_aip(connection: Connection, archive: UUID, package: UUID | None) -> HeldAip | None:
    """The AIP that is meant: `package`, a version of it, or without that the one in use now, if there is one yet.

    Raises NotFound, also for a version of another Archive.
    """
    row = connection.execute(_HELD_AIP, {"archive": archive, "package": package}).one_or_none()
    if row is None:
        raise NotFound("There is no such Archive.")
    if row.id is None and package is not None:
        raise NotFound("The Archive has no such version.")
    return None if row.id is None else HeldAip(row.id, row.on_tape)


def recall(
    connection: Connection,
    archive: UUID,
    *,
    package: UUID | None = None,
    file: str | None = None,
    drill: bool = False,
    step: UUID | None = None,
) -> Begun:
    """Ask for an Archive's AIP, or one file of it, to be brought back from tape; a drill keeps nothing.

    `package` is the version of the AIP; without it that in use now, whatever becomes of it later. A `step` of that id
    that was asked for before is left alone.

    Raises NotFound, also for a version of another Archive, or Conflict when there is no copy on tape.
    """
    aip = held_aip(connection, archive, package)
    if aip is None or not aip.on_tape:
        what = "The AIP in use" if package is None else "This version of the AIP"
        raise Conflict(f"{what} has no copy on tape to recall.", code="no-tape-copy")
    told = {"package": str(aip.id), "file": file, "drill": drill}
    wanted = {name: value for name, value in told.items() if value}
    return errand(connection, archive, "recall", json.dumps(wanted), step or new_id())


def errand(connection: Connection, archive: UUID, name: str, step_input: str, step: UUID) -> Begun:
    """Ask for a step beside the pipeline of an Archive; one of that id that was asked for before is left alone."""
    made = connection.execute(
        _ERRAND, {"archive": archive, "step": step, "name": name, "first": ERRAND_POSITION, "input": step_input}
    )
    if made.one_or_none() is None:
        return Begun(archive, ())
    return Begun(archive, (ask(connection, archive, step, name, 1, SOURCE),))


def ask(connection: Connection, archive: UUID, step: UUID, name: str, attempt: int, source: str) -> CloudEvent:
    """Ask for one attempt of a step; asking twice gives the same CloudEvent."""
    event = build(
        request_type(name),
        {"archive": archive, "step": step, "attempt": attempt},
        source=source,
        at=datetime.now(UTC),
        archive=archive,
        key=(step, attempt),
    )
    outbox.write(connection, [event])
    return event
