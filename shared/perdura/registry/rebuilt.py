"""Archives put back into the registry from what the object store and the log tell of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura import __version__
from perdura.cloudevents.message import CloudEvent
from perdura.ids import derived_id, new_id
from perdura.outcome import Copy, File, Package, StepState
from perdura.ports import Offer, Placed
from perdura.premis import log
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome
from perdura.registry import offers, placements, tape_containers, withdrawals, work
from perdura.registry.archives import ask
from perdura.registry.transitions import ArchiveState

SOURCE = "/perdura/rebuild"
AFTER_LOST_ATTEMPTS = 100
"""Number of an attempt that follows attempts of which only the log still knows: their ids must not come again."""


@dataclass(frozen=True, slots=True)
class RebuiltStep:
    """A step as far as it is known; one that is `queued` is asked for."""

    name: str
    position: int
    state: StepState
    attempt: int = 1
    at: datetime | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AipVersion:
    """The place of an AIP among the versions of its Archive."""

    package: UUID
    number: int
    predecessor: UUID | None


@dataclass(frozen=True, slots=True)
class RebuiltArchive:
    """An Archive with all that is its own."""

    id: UUID
    title: str
    origin: str
    state: ArchiveState
    pipeline: Sequence[str]
    created_at: datetime
    restricted: bool = False
    closed: bool = False
    """Restricted only because no object can tell that nobody restricted it: a person may open it (`opened`)."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    content_sha256: str | None = None
    resource: tuple[str, str] | None = None
    packages: Sequence[Package] = ()
    copies: Sequence[Copy] = ()
    files: Sequence[tuple[UUID, Sequence[File]]] = ()
    steps: Sequence[RebuiltStep] = ()
    versions: Sequence[AipVersion] = ()
    publications: Mapping[str, str] = field(default_factory=dict)
    offer: Offer | None = None
    """What the access pages offer of it, where it is published there."""
    placed: Mapping[str, Sequence[Placed]] = field(default_factory=dict)
    """Its records on access systems of others, by destination, the oldest first."""
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    """Destination to the reason for which it was withdrawn from there."""
    decided: Collection[str | None] = ()
    """The destinations that it is to be published on no more; None for all."""


@dataclass(frozen=True, slots=True)
class DropZoneObject:
    """A deposit in the drop zone, and the Archive that it became."""

    deposit: UUID
    archive: UUID
    bucket: str
    key: str
    size: int
    received_at: datetime


def known(connection: Connection, archives: Sequence[UUID]) -> set[UUID]:
    """Those Archives that the registry has already."""
    found = connection.execute(text("SELECT id FROM archive WHERE id = ANY(:ids)"), {"ids": list(archives)})
    return {row.id for row in found}


_ARCHIVE = text("""
    WITH resource_kept AS (
        INSERT INTO resource (id, source, recid)
        SELECT CAST(:resource AS uuid), :source, :recid WHERE CAST(:resource AS uuid) IS NOT NULL
        ON CONFLICT DO NOTHING
    ), content_kept AS (
        INSERT INTO content (sha256, archive_id) SELECT :content, :id WHERE CAST(:content AS text) IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    INSERT INTO archive (id, resource_id, title, state, pipeline, origin, metadata, restricted, content_sha256,
                         created_at)
    VALUES (:id, CAST(:resource AS uuid), :title, :state, CAST(:pipeline AS jsonb), :origin, CAST(:metadata AS jsonb),
            :restricted, :content, :created_at)
""")

_STEP = text("""
    INSERT INTO step (id, archive_id, name, position, attempt, state, output, error_code, error_message, created_at,
                      started_at, finished_at, poll_at)
    VALUES (:id, :archive, :name, :position, :attempt, :state,
            jsonb_build_object('rebuilt', true) || CAST(:closed AS jsonb), :code, :error,
            coalesce(:at, clock_timestamp()), :at, CASE WHEN :final THEN coalesce(:at, clock_timestamp()) END,
            CASE WHEN NOT :final THEN clock_timestamp() + interval '1 minute' END)
""")

_VERSION = text("""
    INSERT INTO aip_version (package_id, archive_id, predecessor_id, number, reason)
    VALUES (:package, :archive, :predecessor, :number, '')
""")

_PUBLICATION = text(
    "INSERT INTO publication (archive_id, destination, url) VALUES (:archive, :destination, :url) "
    "ON CONFLICT (archive_id, destination) DO UPDATE SET url = excluded.url, changed_at = clock_timestamp()"
)

_KNOWN_RECORDS = text("SELECT destination, record_id FROM placed_record WHERE archive_id = :archive")

_UNPUBLISHED = text("DELETE FROM publication WHERE archive_id = :archive AND destination = :destination")

_WITHDRAWN = text("""
    INSERT INTO placement (destination, archive_id, record_id, state, details)
    VALUES (:destination, :archive, CAST(:archive AS text), 'withdrawn', CAST(:details AS jsonb))
    ON CONFLICT (destination, archive_id) DO UPDATE SET state = excluded.state, details = excluded.details
""")

_OPEN = text("""
    WITH closed AS (
        UPDATE step SET output = output - 'closed' WHERE position = 0 AND output ? 'closed'
            AND (CAST(:wanted AS uuid[]) IS NULL OR archive_id = ANY (CAST(:wanted AS uuid[])))
        RETURNING archive_id
    )
    UPDATE archive SET restricted = false, updated_at = clock_timestamp()
    FROM closed WHERE archive.id = closed.archive_id RETURNING archive.id
""")

_DEPOSIT = text("""
    INSERT INTO deposit (id, archive_id, bucket, key, filename, size, received_at)
    SELECT :id, archive.id, :bucket, :key, archive.title, :size, :received_at FROM archive WHERE archive.id = :archive
    ON CONFLICT DO NOTHING
""")


def insert(connection: Connection, archive: RebuiltArchive) -> list[CloudEvent]:
    """Record an Archive that is not known, in the caller's transaction; asks for its queued steps."""
    source, recid = archive.resource or (None, None)
    connection.execute(
        _ARCHIVE,
        {
            "id": archive.id,
            "resource": derived_id("resource", source, recid) if recid else None,
            "source": source,
            "recid": recid,
            "title": archive.title,
            "state": archive.state,
            "pipeline": json.dumps(list(archive.pipeline)),
            "origin": archive.origin,
            "metadata": json.dumps(dict(archive.metadata)),
            "restricted": archive.restricted or archive.closed,
            "content": archive.content_sha256,
            "created_at": archive.created_at,
        },
    )
    work.keep(connection, archive.id, archive.packages, archive.copies)
    tape_containers.lost_with(connection, archive.copies)
    for package, files in archive.files:
        work.keep_files(connection, package, files)
    for version in archive.versions:
        values = {"package": version.package, "predecessor": version.predecessor, "number": version.number}
        connection.execute(_VERSION, {**values, "archive": archive.id})
    for destination, url in archive.publications.items():
        connection.execute(_PUBLICATION, {"archive": archive.id, "destination": destination, "url": url})
        if archive.offer is not None:
            offers.record(connection, destination, archive.id, archive.offer)
    place(connection, archive.id, archive.placed, archive.withdrawn, archive.decided)
    return [event for step in archive.steps for event in _step(connection, archive, step)]


def place(
    connection: Connection,
    archive: UUID,
    placed: Mapping[str, Sequence[Placed]],
    withdrawn: Mapping[str, str],
    decided: Collection[str | None],
) -> bool:
    """Note records on access systems of others, and withdrawals; whether there was anything of it to note.

    Records and withdrawals that are known stay as they are.
    """
    rows = connection.execute(_KNOWN_RECORDS, {"archive": archive})
    known = {(row.destination, row.record_id) for row in rows}
    noted = False
    for destination, records in placed.items():
        fresh = [each for each in records if (destination, each.record) not in known]
        for each in fresh:
            placements.remember(connection, destination, archive, each)
        noted = noted or bool(fresh)
        addresses = [each.details["url"] for each in fresh if "url" in each.details]
        if addresses and destination not in withdrawn:
            published = {"archive": archive, "destination": destination, "url": addresses[-1]}
            connection.execute(_PUBLICATION, published)
    for destination, reason in withdrawn.items():
        details = json.dumps({"reason": reason, "tombstone": {"reason": reason}})
        values = {"archive": archive, "destination": destination, "details": details}
        connection.execute(_WITHDRAWN, values)
        connection.execute(_UNPUBLISHED, {"archive": archive, "destination": destination})
        noted = True
    for withheld in set(decided) - set(withdrawals.standing(connection, archive)):
        withdrawals.decide(connection, archive, withheld)
        noted = True
    return noted


def _step(connection: Connection, rebuilt: RebuiltArchive, step: RebuiltStep) -> list[CloudEvent]:
    archive = rebuilt.id
    identity = derived_id("step", archive, step.position, step.attempt)
    queued = step.state is StepState.QUEUED
    connection.execute(
        _STEP,
        {
            "id": identity,
            "archive": archive,
            "name": step.name,
            "position": step.position,
            "attempt": step.attempt,
            "state": step.state,
            "code": "rebuilt" if step.error else None,
            "error": step.error,
            "at": step.at,
            "closed": json.dumps({"closed": True} if rebuilt.closed and step.position == 0 else {}),
            "final": not queued,
        },
    )
    return [ask(connection, archive, identity, step.name, step.attempt, SOURCE)] if queued else []


def opened(connection: Connection, archives: Sequence[UUID] | None) -> list[UUID]:
    """Lift the restriction of Archives that only the rebuild restricted: those named, or all (None); returns them.

    That is recorded in the log, in the caller's transaction.
    """
    wanted = None if archives is None else list(archives)
    found = [UUID(str(each)) for each in connection.execute(_OPEN, {"wanted": wanted}).scalars()]
    events = [
        Event(
            id=new_id(),
            type="policy assignment",
            at=datetime.now(UTC),
            details=("Opened: it was restricted when the registry was rebuilt, until a person had looked.",),
            outcomes=(Outcome(SUCCESS),),
            agents=(Identifier("software", f"perdura/{__version__} rebuild", ("executing program",)),),
            objects=(Identifier("UUID", str(archive)),),
        )
        for archive in found
    ]
    log.append(connection, events, actor="perdura/rebuild")
    return found


def insert_deposits(connection: Connection, objects: Sequence[DropZoneObject]) -> None:
    """Note which objects of the drop zone have become Archives, so that nothing takes them for new ones."""
    for each in objects:
        connection.execute(
            _DEPOSIT,
            {
                "id": each.deposit,
                "archive": each.archive,
                "bucket": each.bucket,
                "key": each.key,
                "size": each.size,
                "received_at": each.received_at,
            },
        )
