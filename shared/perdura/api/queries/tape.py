"""What is known of tape: the destination as a whole, and its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from perdura.accounts.principals import Principal
from perdura.accounts.rights import hides
from perdura.registry.tape_tables import LOCATION

_OVERVIEW = text("""
    SELECT d.paused_by, d.pause_reason, d.paused_at, d.credentials, d.credentials_at,
        (SELECT count(*) FROM tape_job WHERE ended_at IS NULL) AS in_flight,
        (SELECT coalesce(jsonb_object_agg(why, number), '{}') FROM (
            SELECT coalesce(output #>> '{tape,waiting_for}', 'unknown') AS why, count(*) AS number
            FROM step WHERE name = 'archive' AND state = 'waiting' GROUP BY 1) AS waits) AS waiting,
        on_tape.copies, on_tape.bytes, on_tape.oldest, on_tape.broken,
        (SELECT count(*) FROM tape_container) AS containers,
        (SELECT done_at FROM heartbeat WHERE duty = 'tape-drill') AS drilled_at
    FROM (SELECT count(*) FILTER (WHERE state = 'held') AS copies,
            coalesce(sum(size) FILTER (WHERE state = 'held'), 0) AS bytes,
            min(verified_at) FILTER (WHERE state = 'held') AS oldest,
            count(*) FILTER (WHERE state <> 'held') AS broken
          FROM copy WHERE location = :location) AS on_tape
    LEFT JOIN tape_destination AS d ON d.location = :location
""")

_SEEN = "(:everything OR NOT EXISTS (SELECT FROM archive WHERE archive.id = archive_id AND archive.restricted))"

_DRILLS = text(f"""
    SELECT id, archive_id, state, finished_at FROM step
    WHERE name = 'recall' AND input @> '{{"drill": true}}' AND {_SEEN} ORDER BY created_at DESC LIMIT 20
""")  # noqa: S608 - a constant of this module

_RESTORED = text(f"""
    SELECT id, archive_id, output -> 'recall' AS recall FROM step
    WHERE name = 'recall' AND state = 'completed' AND output #>> '{{recall,expires_at}}' > ''
        AND output #>> '{{recall,removed_at}}' IS NULL AND {_SEEN}
    ORDER BY output #>> '{{recall,expires_at}}' LIMIT 50
""")  # noqa: S608 - a constant of this module

_JOBS = text(f"""
    SELECT tape_job.*, (
        SELECT coalesce(jsonb_agg(jsonb_build_object('attempt', attempt, 'at', failed_at, 'reason', r.reason,
            'host', host, 'log_file', r.log_file) ORDER BY failed_at, attempt), '[]')
        FROM tape_job_retry AS r WHERE r.key = tape_job.key) AS retries
    FROM tape_job
    WHERE (CAST(:open AS boolean) IS NULL OR (ended_at IS NULL) = :open) AND {_SEEN}
        AND (CAST(:moment AS timestamptz) IS NULL OR (intended_at, key) < (:moment, :key))
    ORDER BY intended_at DESC, key DESC LIMIT :limit
""")  # noqa: S608 - a constant of this module


_JOB_SEEN = text(f"SELECT EXISTS (SELECT FROM tape_job WHERE job_id = :job AND {_SEEN})")  # noqa: S608 - as above


def overview(connection: Connection) -> Row[Any]:
    """The destination, its jobs, and the copies on tape, in one row."""
    return connection.execute(_OVERVIEW, {"location": LOCATION}).one()


def drills(connection: Connection, principal: Principal) -> Sequence[Row[Any]]:
    """The latest restore drills, of Archives that are not hidden from the principal."""
    return connection.execute(_DRILLS, {"everything": not hides(principal)}).all()


def restored(connection: Connection, principal: Principal) -> Sequence[Row[Any]]:
    """Recalled copies in the object store, of Archives that are not hidden from the principal."""
    return connection.execute(_RESTORED, {"everything": not hides(principal)}).all()


def jobs(
    connection: Connection,
    principal: Principal,
    *,
    still_open: bool | None,
    limit: int,
    after: tuple[datetime, str] | None,
) -> Sequence[Row[Any]]:
    """Jobs, newest first, after a (time, key), without those of Archives that may be hidden from the principal."""
    moment, key = after or (None, None)
    wanted = {"open": still_open, "moment": moment, "key": key, "limit": limit, "everything": not hides(principal)}
    return connection.execute(_JOBS, wanted).all()


def shows_job(connection: Connection, principal: Principal, job: UUID) -> bool:
    """Whether there is such a job of the tape system, and of no Archive that is hidden from the principal."""
    values = {"job": str(job), "everything": not hides(principal)}
    return bool(connection.execute(_JOB_SEEN, values).scalar_one())
