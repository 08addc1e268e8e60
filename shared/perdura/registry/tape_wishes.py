"""What people ask of tape: a pause of the destination, the cancellation of a job, another priority.

They are noted here and done by `archive-cta` at its next look, which alone holds the credentials of the tape system.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from perdura.errors import Conflict, NotFound
from perdura.registry.tape_tables import LOCATION

_WAKE = text("""
    UPDATE step SET poll_at = clock_timestamp()
    WHERE name = 'archive' AND state = 'waiting' AND checkpoint ->> 'job' = :job
""")


def pause(connection: Connection, reason: str, by: str) -> None:
    """Submit no new jobs from now on; those under way are followed. A pause that holds keeps its first reason."""
    connection.execute(
        text("""
            INSERT INTO tape_destination (location, paused_by, pause_reason, paused_at)
            VALUES (:at, :by, :reason, clock_timestamp())
            ON CONFLICT (location) DO UPDATE SET paused_by = excluded.paused_by,
                pause_reason = excluded.pause_reason, paused_at = excluded.paused_at
            WHERE tape_destination.paused_at IS NULL
        """),
        {"at": LOCATION, "by": by, "reason": reason},
    )


def resume(connection: Connection) -> None:
    """Submit jobs again; what waits for it is looked at at once."""
    connection.execute(
        text("""
            UPDATE tape_destination SET paused_by = NULL, pause_reason = NULL, paused_at = NULL WHERE location = :at
        """),
        {"at": LOCATION},
    )
    connection.execute(
        text("""
            UPDATE step SET poll_at = clock_timestamp() WHERE name = 'archive' AND state = 'waiting'
                AND output #>> '{tape,waiting_for}' = 'tape-paused'
        """)
    )


def cancel(connection: Connection, job: UUID, by: str) -> None:
    """Ask for a job to be cancelled; raises NotFound, or Conflict when it is over."""
    _of_open_job(connection, "UPDATE tape_job SET cancelled_by = coalesce(cancelled_by, :value)", job, by)


def prioritise(connection: Connection, job: UUID, priority: int) -> None:
    """Ask for another priority, 1 to 5; raises NotFound, or Conflict when the job is over."""
    _of_open_job(connection, "UPDATE tape_job SET wanted_priority = :value", job, priority)


def _of_open_job(connection: Connection, update: str, job: UUID, value: object) -> None:
    values = {"job": str(job), "value": value}
    done = connection.execute(text(f"{update} WHERE job_id = :job AND ended_at IS NULL"), values)
    if done.rowcount == 1:
        connection.execute(_WAKE, {"job": str(job)})
        return
    known = connection.execute(text("SELECT 1 FROM tape_job WHERE job_id = :job"), {"job": str(job)}).one_or_none()
    if known is None:
        raise NotFound("There is no such job.")
    raise Conflict("The job is over.", code="job-over")
