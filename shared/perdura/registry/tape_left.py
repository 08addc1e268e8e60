"""What steps that were cancelled or skipped left at the tape system: jobs, and requests for files on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from perdura.outcome import ArchiveView
from perdura.packages.tape_container import Slot
from perdura.ports import LeftCopy, LeftJob, LeftRecall, TapeJob
from perdura.recordable import recordable
from perdura.registry import work
from perdura.registry.tape_jobs import account_of

_AIPS = """
    SELECT package.id, package.archive_id, package.created_at, substr(split_part(job.key, ':', 2), 6) AS which,
        CAST(NULL AS bigint) AS "offset", CAST(NULL AS bigint) AS length
    FROM package WHERE id = CASE WHEN job.archive_id IS NOT NULL THEN CAST(split_part(job.key, ':', 1) AS uuid) END
    UNION ALL
    SELECT package.id, package.archive_id, package.created_at, '', member."offset", member.size
    FROM tape_container_member AS member JOIN package ON package.id = member.package_id
    WHERE member.container_id = job.container_id
"""
"""The AIPs that a job is for; `which` is the number of a copy that is made again, as key and step have it."""

_OWN_STEP = """
    FROM step WHERE step.archive_id = each.archive_id AND name = 'archive' AND step.created_at >= each.created_at
        AND coalesce(step.input ->> 'copy', '') = each.which
    ORDER BY position, attempt DESC LIMIT 1
"""
"""The newest attempt at putting an AIP on tape: that of the first such step asked for after the AIP was recorded.
Later ones are for the versions after it."""

_JOB_LEFT = f"""
    ended_at IS NULL AND coalesce(archive_id, container_id) IS NOT NULL
        AND (job_id IS NOT NULL OR intended_at < clock_timestamp() - interval '15 minutes')
        AND EXISTS (SELECT FROM ({_AIPS}) AS each)
        AND NOT EXISTS (SELECT FROM ({_AIPS}) AS each WHERE (SELECT state {_OWN_STEP}) IS DISTINCT FROM 'cancelled')
"""  # noqa: S608 - constants of this module
"""Holds for jobs that no step waits for. One whose answer is not known may still be asked for by a worker for 15
minutes."""

_RECALL_LEFT = """
    step.name = 'recall' AND step.state = 'cancelled' AND step.checkpoint ->> 'request' IS NOT NULL
        AND step.output #> '{recall,called_off_at}' IS NULL
"""

_ANY = text(f"""
    SELECT EXISTS (SELECT FROM tape_job AS job WHERE {_JOB_LEFT}) OR EXISTS (SELECT FROM step WHERE {_RECALL_LEFT})
""")  # noqa: S608 - constants of this module

_JOBS = text(f"""
    SELECT job.key, job.job_id, job.asked_as, job.path, job.size, job.server, job.holder, job.archive_id,
        job.container_id, (SELECT adler32 FROM tape_container WHERE id = job.container_id) AS adler32
    FROM tape_job AS job WHERE {_JOB_LEFT}
    ORDER BY looked_at NULLS FIRST, intended_at LIMIT :limit FOR UPDATE OF job SKIP LOCKED
""")  # noqa: S608 - constants of this module

_COPIES = text(f"""
    SELECT job.key, each.id AS package_id, each."offset", each.length, {work.VIEW}, step.finished_at,
        coalesce(step.output ->> 'cancelled_by', step.output ->> 'skipped_by') AS by,
        (SELECT tried.checkpoint ->> 'adler32' FROM step AS tried
            WHERE tried.archive_id = archive.id AND tried.position = step.position
                AND tried.checkpoint ->> 'aip' = CAST(each.id AS text)
                AND coalesce(tried.checkpoint -> 'slot', 'null') = 'null'
            ORDER BY attempt DESC LIMIT 1) AS computed
    FROM tape_job AS job JOIN LATERAL ({_AIPS}) AS each ON true
    JOIN archive ON archive.id = each.archive_id
    JOIN LATERAL (SELECT * {_OWN_STEP}) AS step ON true
    WHERE job.key = ANY(:keys)
    ORDER BY job.key, each."offset"
""")  # noqa: S608 - constants of this and another module


def anything(connection: Connection) -> bool:
    """Whether there is a job or a request to be called off: one statement for the ticks that find none."""
    return bool(connection.execute(_ANY).scalar_one())


def jobs(connection: Connection, limit: int) -> list[LeftJob]:
    """Lock and give back jobs that no step waits for any more, those not looked at for the longest time first."""
    rows = connection.execute(_JOBS, {"limit": limit}).all()
    if not rows:
        return []
    copies: dict[str, list[Row[Any]]] = {}
    for row in connection.execute(_COPIES, {"keys": [row.key for row in rows]}):
        copies.setdefault(row.key, []).append(row)
    return [_job(row, copies[row.key]) for row in rows if row.key in copies]


def _job(row: Row[Any], copies: Sequence[Row[Any]]) -> LeftJob:
    return LeftJob(
        key=row.key,
        path=row.path,
        size=row.size,
        adler32=row.adler32 or _adler32(copies[0]),
        job_id=row.job_id,
        account=account_of(row),
        by=next((each.by for each in copies if each.by), None) or "a newer attempt",
        since=max(each.finished_at for each in copies),
        copies=tuple(_copy(row, each) for each in copies),
        asked_as=row.asked_as,
    )


def _copy(job: Row[Any], row: Row[Any]) -> LeftCopy:
    slot = None if job.container_id is None else Slot(job.container_id, row.offset, row.length)
    return LeftCopy(work.archive_of(row), row.package_id, slot)


def _adler32(row: Row[Any]) -> str | None:
    """That of an AIP with a file of its own: what the registry knows, or what its own step computed."""
    archive: ArchiveView = work.archive_of(row)
    known = next((each.checksums.get("adler32") for each in archive.packages if each.id == row.package_id), None)
    return known or row.computed


def looked_at(connection: Connection, job: LeftJob, found: TapeJob | None, *, over: bool) -> None:
    """Note what became of a job; one that is `over` is not looked at again."""
    found = recordable(found)
    connection.execute(
        text("""
            UPDATE tape_job SET looked_at = clock_timestamp(), cancelled_by = coalesce(cancelled_by, :by),
                job_id = coalesce(job_id, :job), state = coalesce(:state, state), reason = coalesce(:reason, reason),
                ended_at = CASE WHEN :over THEN clock_timestamp() END
            WHERE key = :key
        """),
        {
            "key": job.key, "by": job.by, "over": over, "job": found.job_id if found else None,
            "state": found.state if found else None, "reason": found.reason if found else None,
        },
    )  # fmt: skip


_RECALLS = text(f"""
    SELECT {work.VIEW}, step.finished_at, coalesce(step.output ->> 'cancelled_by', '') AS by
    FROM step JOIN archive ON archive.id = step.archive_id
    WHERE {_RECALL_LEFT}
    ORDER BY step.finished_at LIMIT :limit FOR UPDATE OF step SKIP LOCKED
""")  # noqa: S608 - constants


def recalls(connection: Connection, limit: int) -> list[LeftRecall]:
    """Lock and give back cancelled recalls whose file the tape system was asked for, the oldest first."""
    rows = connection.execute(_RECALLS, {"limit": limit})
    return [LeftRecall(work.archive_of(row), row.by, row.finished_at) for row in rows]


def called_off(connection: Connection, step: UUID) -> None:
    """Note that a recall left nothing at the tape system."""
    connection.execute(
        text("""
            UPDATE step SET output = jsonb_set(output, '{recall}', coalesce(output -> 'recall', '{}')
                || jsonb_build_object('called_off_at', clock_timestamp()))
            WHERE id = :step
        """),
        {"step": step},
    )
