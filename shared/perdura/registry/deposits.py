"""Deposits: announced uploads, and objects that appear in the drop zone unannounced."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.errors import Conflict, NotFound, Rejected, Retryable
from perdura.ids import derived_id, new_id
from perdura.registry.archives import Begun, ask, create, first_step_id
from perdura.registry.transitions import DEPOSIT_PIPELINE, ArchiveState
from perdura.storage.drop_zone import DEPOSITS


@dataclass(frozen=True, slots=True)
class Announced:
    """A deposit that may now be uploaded: put the bytes at `bucket`/`key`."""

    id: UUID
    archive: UUID
    bucket: str
    key: str


def expect_parts(connection: Connection, deposit: UUID, upload_id: str, part_size: int) -> None:
    """Note that a deposit comes in parts of so many bytes, and what the store calls their upload."""
    connection.execute(
        text("UPDATE deposit SET upload_id = :upload, part_size = :size WHERE id = :id"),
        {"id": deposit, "upload": upload_id, "size": part_size},
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """An object in the drop zone: what the store says of it (packages.md C8: one state of one object)."""

    bucket: str
    key: str
    version_id: str | None
    etag: str | None
    size: int


def arrival_id(arrival: Arrival) -> UUID:
    """The id of the Archive that an object becomes where nobody announced a deposit: one for each state of it.

    A state is known by its ETag: a listing names no versions, and must find the same Archive as a notification.
    """
    return derived_id("arrival", arrival.bucket, arrival.key, arrival.etag or arrival.version_id)


def earlier_id(arrival: Arrival) -> UUID:
    """The id it had before ETags counted, where a bucket keeps versions: Archives may be known by it."""
    return derived_id("arrival", arrival.bucket, arrival.key, arrival.version_id or arrival.etag)


_ANNOUNCE = text("""
    WITH made AS (
        INSERT INTO archive (id, title, state, pipeline, origin)
        VALUES (:archive, :title, :state, CAST(:pipeline AS jsonb), 'deposit')
    )
    INSERT INTO deposit (id, archive_id, bucket, key, filename, size, sha256, account_id)
    VALUES (:id, :archive, :bucket, :key, :filename, :size, :sha256, :account)
""")


def announce(
    connection: Connection,
    *,
    bucket: str,
    filename: str,
    size: int | None = None,
    sha256: str | None = None,
    title: str | None = None,
    account: UUID | None = None,
) -> Announced:
    """Create an Archive that waits for its upload. The key is made of our id, never of the depositor's name."""
    deposit, archive = new_id(), new_id()
    key = f"{DEPOSITS}/{deposit}"
    connection.execute(
        _ANNOUNCE,
        {
            "id": deposit,
            "archive": archive,
            "title": title or filename,
            "state": ArchiveState.AWAITING_UPLOAD,
            "pipeline": json.dumps(DEPOSIT_PIPELINE),
            "bucket": bucket,
            "key": key,
            "filename": filename,
            "size": size,
            "sha256": sha256,
            "account": account,
        },
    )
    return Announced(deposit, archive, bucket, key)


_RECEIVE = text("""
    WITH received AS (
        UPDATE deposit SET received_at = clock_timestamp()
        WHERE bucket = :bucket AND key = :key AND received_at IS NULL AND cancelled_at IS NULL
        RETURNING archive_id, filename, size, sha256
    ), gone AS (
        UPDATE archive SET state = 'queued', updated_at = clock_timestamp()
        FROM received WHERE archive.id = received.archive_id
    )
    SELECT archive_id, filename, size, sha256 FROM received
    UNION ALL
    SELECT archive_id, NULL, NULL, NULL FROM deposit
    WHERE bucket = :bucket AND key = :key AND NOT EXISTS (SELECT FROM received)
""")

_FIRST_STEP = text("""
    INSERT INTO step (id, archive_id, name, position, input, poll_at)
    VALUES (:step, :archive, 'ingest', 0, CAST(:input AS jsonb), clock_timestamp() + interval '1 minute')
    ON CONFLICT (id) DO NOTHING
""")


def receive(connection: Connection, arrival: Arrival, *, source: str) -> Begun:
    """Begin the ingest of an object that arrived, once, however often and by whomever it is reported.

    An announced deposit is begun by its first report; any other object becomes an Archive of its own, whose id
    derives from the object's key and content tag: the same object reported again is the same Archive. What arrives for
    a cancelled deposit begins nothing.
    """
    row = connection.execute(_RECEIVE, {"bucket": arrival.bucket, "key": arrival.key}).first()
    told = {
        "bucket": arrival.bucket,
        "key": arrival.key,
        "version_id": arrival.version_id,
        "etag": arrival.etag,
        "size": arrival.size,
    }
    if row is None:
        return create(
            connection,
            arrival_id(arrival),
            title=posixpath.basename(arrival.key),
            origin="upload",
            pipeline=DEPOSIT_PIPELINE,
            step_input={**told, "filename": posixpath.basename(arrival.key)},
            source=source,
        )
    if row.filename is None:
        return Begun(row.archive_id, ())
    announced = {"filename": row.filename, "expected_size": row.size, "expected_sha256": row.sha256}
    return _begin(connection, row.archive_id, {**told, **announced}, source)


def announced(
    connection: Connection,
    arrival: Arrival,
    *,
    sha256: str | None = None,
    title: str | None = None,
    requested_by: UUID | None = None,
) -> Begun:
    """Begin the ingest of an object that was announced where it lies; the same state of it is the same Archive.

    Raises Rejected when that Archive was begun before and its package has not the SHA-256 that is announced now, or
    when that is not to be compared: it is too late, or somebody else began it and it is not in yet. Raises Retryable
    while the package is on its way in.
    """
    filename = posixpath.basename(arrival.key)
    begun = create(
        connection,
        arrival_id(arrival),
        title=title or filename,
        origin="announcement",
        pipeline=DEPOSIT_PIPELINE,
        step_input={
            "bucket": arrival.bucket,
            "key": arrival.key,
            "version_id": arrival.version_id,
            "etag": arrival.etag,
            "size": arrival.size,
            "filename": filename,
            "expected_size": arrival.size,
            **({"expected_sha256": sha256} if sha256 else {}),
            **({"requested_by": str(requested_by)} if requested_by else {}),
        },
    )
    if sha256 and not begun.events:
        _hold_to(connection, begun.archive, sha256, requested_by)
    return begun


_EXPECT = text("""
    UPDATE step SET input = input || jsonb_build_object('expected_sha256', CAST(:sha256 AS text))
    WHERE id = :step AND state = 'queued' AND input ->> 'requested_by' = CAST(:by AS text)
""")

_ON_ITS_WAY = text("""
    SELECT state IN ('queued', 'running', 'waiting') AND coalesce(input ->> 'requested_by' = CAST(:by AS text), true)
    FROM step WHERE id = :step
""")

_RECEIVED = text("""
    SELECT checksums ->> 'sha256' FROM package WHERE archive_id = :archive AND kind = 'SIP' ORDER BY created_at LIMIT 1
""")


def _hold_to(connection: Connection, archive: UUID, sha256: str, requested_by: UUID | None) -> None:
    """Hold an Archive that was begun without a digest to the one that is told now.

    Its ingest is told it only where the same account has begun it: a wrong one would end that of somebody else.
    """
    step, by = first_step_id(archive), str(requested_by) if requested_by else None
    if connection.execute(_EXPECT, {"step": step, "sha256": sha256, "by": by}).rowcount:
        return
    received = connection.execute(_RECEIVED, {"archive": archive}).scalar()
    if received is None and connection.execute(_ON_ITS_WAY, {"step": step, "by": by}).scalar():
        raise Retryable("The package is on its way in; its SHA-256 is compared when it has arrived.")
    if received is None:
        raise Rejected(
            "It was begun before this SHA-256 was told, which was not compared: store it anew and announce it again.",
            code="digest-not-compared",
        )
    if received != sha256.lower():
        raise Rejected(
            f"Its SHA-256 is {received}; {sha256.lower()} was announced. Its Archive was begun before.",
            code="digest-mismatch",
        )


def _begin(connection: Connection, archive: UUID, step_input: dict[str, object], source: str) -> Begun:
    step = first_step_id(archive)
    connection.execute(_FIRST_STEP, {"step": step, "archive": archive, "input": json.dumps(step_input)})
    return Begun(archive, (ask(connection, archive, step, "ingest", 1, source),))


_CANCEL = text("""
    WITH called_off AS (
        UPDATE deposit SET cancelled_at = clock_timestamp()
        WHERE id = :deposit AND received_at IS NULL AND cancelled_at IS NULL
        RETURNING archive_id
    )
    UPDATE archive SET state = 'cancelled', updated_at = clock_timestamp()
    FROM called_off WHERE archive.id = called_off.archive_id
""")


def cancel(connection: Connection, deposit: UUID) -> None:
    """Wait for the deposit no longer; raises Conflict when it was received, or is cancelled already."""
    if connection.execute(_CANCEL, {"deposit": deposit}).rowcount == 0:
        raise Conflict("The deposit does not wait for anything: it was received or cancelled.", code="not-waiting")


def call_off(connection: Connection, archive: UUID) -> None:
    """Note that an Archive's deposit is waited for no longer, if it is."""
    connection.execute(
        text("""
            UPDATE deposit SET cancelled_at = clock_timestamp()
            WHERE archive_id = :archive AND received_at IS NULL AND cancelled_at IS NULL
        """),
        {"archive": archive},
    )


def find(connection: Connection, deposit: UUID) -> Announced:
    """The announced deposit of that id; raises NotFound."""
    row = connection.execute(
        text("SELECT id, archive_id, bucket, key FROM deposit WHERE id = :id"), {"id": deposit}
    ).one_or_none()
    if row is None:
        raise NotFound("There is no such deposit.")
    return Announced(row.id, row.archive_id, row.bucket, row.key)


def unknown_keys(connection: Connection, arrivals: list[Arrival]) -> list[Arrival]:
    """Those objects of the drop zone that no Archive was begun for: their notification was lost."""
    archives = {arrival_id(arrival): arrival for arrival in arrivals}
    known = connection.execute(
        text("""
            SELECT id, NULL AS key FROM archive WHERE id = ANY(CAST(:ids AS uuid[]))
            UNION ALL SELECT NULL, key FROM deposit WHERE key = ANY(CAST(:keys AS text[]))
                AND (received_at IS NOT NULL OR cancelled_at IS NOT NULL)
        """),
        {"ids": list(archives), "keys": [arrival.key for arrival in arrivals]},
    ).all()
    begun, received = {row.id for row in known}, {row.key for row in known}
    return [a for archive, a in archives.items() if archive not in begun and a.key not in received]
