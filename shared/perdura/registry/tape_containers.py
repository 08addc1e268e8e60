"""Containers of small AIPs: made from the steps that wait for company, and looked up for the AIP gateway."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.ids import new_id
from perdura.outcome import ArchiveView, Copy, CopyState
from perdura.packages.tape_container import Container, Member, grouped
from perdura.storage.store import ObjectRef

MOST = 10_000
"""AIPs looked at, and put into containers, in one go."""
DIRECTORY = "containers"
"""Directory of containers on tape."""

_WAITING = text("""
    SELECT step.id AS step, step.archive_id, step.started_at, package.id AS package, package.size, package.checksums
    FROM step JOIN package ON package.id = CAST(step.checkpoint ->> 'aip' AS uuid)
    WHERE step.name = 'archive' AND step.state = 'waiting' AND step.checkpoint ->> 'phase' = 'group'
    ORDER BY step.started_at, step.id LIMIT :most FOR UPDATE OF step SKIP LOCKED
""")

_MEMBERS = text("""
    INSERT INTO tape_container_member (container_id, position, package_id, "offset", size, checksums)
    SELECT :container, position, package_id, "offset", size, checksums
    FROM jsonb_to_recordset(CAST(:members AS jsonb)) AS m (position integer, package_id uuid, "offset" bigint,
        size bigint, checksums jsonb)
""")

_INTO = text("""
    UPDATE step SET checkpoint = checkpoint || CAST(:common AS jsonb) || jsonb_build_object('slot',
            jsonb_build_array(CAST(:container AS text), m."offset", m.size)),
        poll_at = clock_timestamp(), updated_at = clock_timestamp()
    FROM jsonb_to_recordset(CAST(:members AS jsonb)) AS m (step uuid, "offset" bigint, size bigint)
    WHERE step.id = m.step
""")


def fill(connection: Connection, *, largest: int, seconds: float) -> list[Container]:
    """Put waiting AIPs into containers and let their steps submit them; gives back the containers made.

    A container is made when it is full (`largest` bytes), or when the AIP that waits longest has waited `seconds`.
    """
    rows = {row.package: row for row in connection.execute(_WAITING, {"most": MOST})}
    if not rows:
        return []
    now = datetime.now(UTC)
    first = min(row.started_at for row in rows.values())
    complete = len(rows) == MOST or (now - first).total_seconds() >= seconds
    groups = grouped([(row.package, row.size) for row in rows.values()], largest, complete=complete)
    return [_made(connection, [rows[package] for package in group], now) for group in groups]


def alone(connection: Connection, archives: Collection[ArchiveView]) -> None:
    """Let AIPs that found no company in their time go to tape as files of their own."""
    steps = [archive.step.id for archive in archives if archive.step.checkpoint.get("phase") == "group"]
    if not steps:
        return
    connection.execute(
        text("""
            UPDATE step SET checkpoint = checkpoint || '{"phase": "submit"}'
            WHERE id = ANY(:steps) AND checkpoint ->> 'phase' = 'group'
        """),
        {"steps": steps},
    )


def _made(connection: Connection, rows: list[Any], now: datetime) -> Container:
    members = tuple(
        Member(
            package=row.package,
            archive=row.archive_id,
            size=row.size,
            sha256=row.checksums["sha256"],
            sha512=row.checksums["sha512"],
            adler32=row.checksums["adler32"],
        )
        for row in rows
    )
    container = Container(new_id(), now, members)
    path = f"{DIRECTORY}/{container.id}.tar"
    facts = {"container": container.id, "path": path, "size": container.size, "adler32": container.adler32, "now": now}
    connection.execute(
        text("""
            INSERT INTO tape_container (id, path, size, adler32, created_at)
            VALUES (:container, :path, :size, :adler32, :now)
        """),
        facts,
    )
    placed = [
        {
            "step": str(row.step),
            "position": position,
            "package_id": str(member.package),
            "offset": container.slots[member.package].offset,
            "size": member.size,
            "checksums": {"sha256": member.sha256, "sha512": member.sha512, "adler32": member.adler32},
        }
        for position, (row, member) in enumerate(zip(rows, members, strict=True))
    ]
    common = {"phase": "submit", "path": path, "size": container.size, "adler32": container.adler32}
    connection.execute(_MEMBERS, {"container": container.id, "members": json.dumps(placed)})
    connection.execute(_INTO, {"container": container.id, "common": json.dumps(common), "members": json.dumps(placed)})
    return container


@dataclass(frozen=True, slots=True)
class LostWith:
    """An AIP whose copy is lost because the container is in which it lies."""

    archive: UUID
    package: UUID
    uri: str
    checksums: Mapping[str, str]


_LOST_WITH = text("""
    UPDATE copy SET state = 'lost'
    FROM tape_container_member AS lost JOIN tape_container_member AS member USING (container_id)
        JOIN package ON package.id = member.package_id
    WHERE lost.package_id = :package AND member.package_id = copy.package_id AND copy.location = :location
        AND copy.state = 'held' AND split_part(copy.uri, '#', 1) = split_part(:uri, '#', 1)
    RETURNING package.archive_id, copy.package_id, copy.uri, copy.checksums
""")


def lost_with(connection: Connection, copies: Collection[Copy]) -> list[LostWith]:
    """Let go of what is lost with these copies: a container is one file on tape, whoever lost one AIP has lost all.

    Gives back those that counted until now, in the order of their ids.
    """
    lost = [
        LostWith(row.archive_id, row.package_id, row.uri, row.checksums)
        for copy in copies
        if copy.state is CopyState.LOST
        for row in connection.execute(
            _LOST_WITH, {"package": copy.package_id, "location": copy.location, "uri": copy.uri}
        )
    ]
    return sorted(lost, key=lambda each: each.package)


@dataclass(frozen=True, slots=True)
class Stored:
    """A container as the registry knows it, and the object of each of its AIPs."""

    container: Container
    size: int
    adler32: str
    objects: Mapping[UUID, ObjectRef]


def find(connection: Connection, container: UUID) -> Stored | None:
    """A container by its id; None when there is none."""
    rows = connection.execute(
        text("""
            SELECT c.created_at, c.size AS whole, c.adler32, m.package_id, p.archive_id, m.size, m.checksums,
                p.bucket, p.key, p.version_id, p.etag
            FROM tape_container AS c JOIN tape_container_member AS m ON m.container_id = c.id
            JOIN package AS p ON p.id = m.package_id WHERE c.id = :id ORDER BY m.position
        """),
        {"id": container},
    ).all()
    if not rows:
        return None
    members = tuple(
        Member(row.package_id, row.archive_id, row.size, **{name: row.checksums[name] for name in _DIGESTS})
        for row in rows
    )
    objects = {row.package_id: ObjectRef(row.bucket, row.key, row.version_id, row.etag) for row in rows}
    return Stored(Container(container, rows[0].created_at, members), rows[0].whole, rows[0].adler32, objects)


_DIGESTS = ("sha256", "sha512", "adler32")
