"""How Archives are to be preserved, where somebody said so, and the versions of their AIPs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura.errors import Conflict, NotFound, Rejected
from perdura.ids import derived_id
from perdura.outcome import ArchiveView, Package, PackageKind
from perdura.registry import decisions
from perdura.registry.archives import SOURCE, Begun, ask
from perdura.registry.transitions import ERRAND_POSITION, ArchiveState


def wish(connection: Connection, archive: UUID) -> Mapping[str, Any]:
    """How an Archive is to be preserved, as far as anybody said."""
    found = connection.execute(
        text("SELECT wish FROM preservation_wish WHERE archive_id = :archive"), {"archive": archive}
    ).scalar_one_or_none()
    return found or {}


def note_wish(connection: Connection, archive: UUID, wished: Mapping[str, Any]) -> None:
    """Say how an Archive is to be preserved; members not named stay as they were said before."""
    if not wished:
        return
    connection.execute(
        text("""
            INSERT INTO preservation_wish (archive_id, wish) VALUES (:archive, CAST(:wish AS jsonb))
            ON CONFLICT (archive_id) DO UPDATE SET wish = preservation_wish.wish || excluded.wish,
                updated_at = clock_timestamp()
        """),
        {"archive": archive, "wish": json.dumps(dict(wished))},
    )


def supersede(connection: Connection, archive: ArchiveView, made: Package) -> None:
    """Take the AIP that was in use out of use, for a new version; it stays where it is, with all its copies."""
    before = archive.package(PackageKind.AIP)
    if before is not None and before.id != made.id:
        _use(connection, archive.id, None)


def note_version(connection: Connection, archive: ArchiveView, made: Package) -> None:
    """Note that an AIP is the next version of its Archive, made from the one that was in use; once."""
    before = archive.package(PackageKind.AIP)
    step_input = archive.step.input
    connection.execute(
        text("""
            INSERT INTO aip_version (package_id, archive_id, predecessor_id, number, reason, additions)
            SELECT :package, :archive, CAST(:predecessor AS uuid),
                1 + coalesce((SELECT max(number) FROM aip_version WHERE archive_id = :archive), 0),
                :reason, CAST(:additions AS jsonb)
            ON CONFLICT (package_id) DO NOTHING
        """),
        {
            "package": made.id,
            "archive": archive.id,
            "predecessor": before.id if before is not None and before.id != made.id else None,
            "reason": str(step_input.get("reason") or "")[:500],
            "additions": json.dumps(step_input.get("additions") or []),
        },
    )


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an Archive's AIP; `chosen` is the one in use."""

    package: UUID
    number: int
    predecessor: UUID | None
    reason: str
    chosen: bool
    size: int
    created_at: datetime
    additions: Sequence[Mapping[str, Any]]


def versions(connection: Connection, archive: UUID) -> list[Version]:
    """All versions of an Archive's AIP, oldest first."""
    found = connection.execute(
        text("""
            SELECT v.package_id, v.number, v.predecessor_id, v.reason, p.accepted, p.size, v.created_at, v.additions
            FROM aip_version AS v JOIN package AS p ON p.id = v.package_id
            WHERE v.archive_id = :archive ORDER BY v.number
        """),
        {"archive": archive},
    )
    return [Version(*row) for row in found]


def choose(connection: Connection, archive: UUID, package: UUID) -> None:
    """Put another version of the AIP into use: rollback is choosing an older one.

    Raises NotFound for one that is not of this Archive, Conflict while a step is under way.
    """
    if package not in {version.package for version in versions(connection, archive)}:
        raise NotFound("The Archive has no such version.")
    _require_rest(connection, archive)
    _use(connection, archive, package)


def _use(connection: Connection, archive: UUID, package: UUID | None) -> None:
    """Two statements, because at most one AIP of an Archive may be in use at any moment."""
    connection.execute(
        text("UPDATE package SET accepted = false WHERE archive_id = :archive AND kind = 'AIP' AND accepted"),
        {"archive": archive},
    )
    if package is not None:
        connection.execute(text("UPDATE package SET accepted = true WHERE id = :package"), {"package": package})


_LAST = text("""
    SELECT archive.state AS archive_state, archive.pipeline, step.position, step.state
    FROM archive LEFT JOIN LATERAL (
        SELECT position, state FROM step WHERE archive_id = archive.id AND position < :errands
        ORDER BY position DESC, attempt DESC LIMIT 1
    ) AS step ON true
    WHERE archive.id = :archive FOR UPDATE OF archive
""")


def _require_rest(connection: Connection, archive: UUID) -> tuple[list[str], int]:
    """The pipeline of an Archive and the position of its last step; raises Conflict while it is under way."""
    row = connection.execute(_LAST, {"archive": archive, "errands": ERRAND_POSITION}).one_or_none()
    if row is None:
        raise NotFound("There is no such Archive.")
    if row.state not in {"completed", "completed_with_warnings", "failed", "cancelled"}:
        raise Conflict("Something is under way for this Archive; wait for its end.", code="not-finished")
    return list(row.pipeline), int(row.position)


_LENGTHEN = text(f"""
    WITH changed AS (
        UPDATE archive SET pipeline = CAST(:pipeline AS jsonb), state = :state, updated_at = clock_timestamp(),
            title = coalesce(:title, title), metadata = {decisions.CHANGED}
        WHERE id = :archive
    )
    INSERT INTO step (id, archive_id, name, position, input, poll_at)
    VALUES (:step, :archive, 'preserve', :position, CAST(:input AS jsonb), clock_timestamp() + interval '1 minute')
""")  # noqa: S608 - a constant


def preserve_again(
    connection: Connection,
    archive: UUID,
    *,
    reason: str,
    additions: Sequence[Mapping[str, Any]] = (),
    wished: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    title: str | None = None,
) -> Begun:
    """Ask for a new version of an Archive's AIP: the pipeline is lengthened by `preserve` and what followed it.

    `additions` join those of the version in use. Raises NotFound, Conflict while something is under way, Rejected
    when there is no AIP yet, or for `metadata` that would say who may see the Archive.
    """
    decisions.require_description(metadata)
    pipeline, position = _require_rest(connection, archive)
    present = next((version for version in versions(connection, archive) if version.chosen), None)
    if present is None or "preserve" not in pipeline:
        raise Rejected("There is no AIP yet of which there could be a new version.", code="no-aip")
    added = {str(each["path"]): dict(each) for each in (*present.additions, *additions)}
    begins = len(pipeline) - 1 - pipeline[::-1].index("preserve")
    following = position + 1
    lengthened = [*pipeline[:following], *pipeline[begins:]]
    step = derived_id("step", archive, following, 1)
    step_input = {**(wished or {}), "reason": reason, "additions": list(added.values())}
    connection.execute(
        _LENGTHEN,
        {
            "pipeline": json.dumps(lengthened),
            "state": ArchiveState.RUNNING,
            "title": title,
            "metadata": json.dumps(dict(metadata)) if metadata else None,
            "archive": archive,
            "step": step,
            "position": following,
            "input": json.dumps(step_input),
        },
    )
    return Begun(archive, (ask(connection, archive, step, "preserve", 1, SOURCE),))


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file in which two versions differ: `kind` is added, removed, changed or moved; `was` its path before."""

    kind: str
    path: str
    was: str | None


def difference(connection: Connection, old: UUID, new: UUID, limit: int) -> list[FileChange]:
    """How the files of one AIP differ from those of another, by path and SHA-256: the first `limit` of them."""
    found = connection.execute(
        text("""
            WITH a AS (SELECT path, checksums ->> 'sha256' AS digest FROM package_file WHERE package_id = :old),
            b AS (SELECT path, checksums ->> 'sha256' AS digest FROM package_file WHERE package_id = :new),
            both_sides AS (
                SELECT a.path AS old_path, b.path AS new_path, a.digest AS old_digest, b.digest AS new_digest
                FROM a FULL JOIN b ON a.path = b.path WHERE a.digest IS DISTINCT FROM b.digest
            ), gone AS (
                SELECT min(old_path) AS path, old_digest FROM both_sides WHERE new_path IS NULL GROUP BY old_digest
            ), moved AS (
                SELECT min(new_path) AS path, gone.path AS was FROM both_sides JOIN gone ON new_digest = gone.old_digest
                WHERE both_sides.old_path IS NULL GROUP BY gone.path
            )
            SELECT CASE WHEN m.path IS NOT NULL THEN 'moved' WHEN old_path IS NULL THEN 'added'
                    WHEN new_path IS NULL THEN 'removed' ELSE 'changed' END AS kind,
                coalesce(new_path, old_path) AS path, m.was
            FROM both_sides LEFT JOIN moved AS m ON m.path = new_path
            WHERE NOT EXISTS (SELECT FROM moved WHERE moved.was = old_path AND new_path IS NULL)
            ORDER BY 2 LIMIT :limit
        """),
        {"old": old, "new": new, "limit": limit},
    )
    return [FileChange(*row) for row in found]
