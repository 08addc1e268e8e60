"""Jobs: one act on many things, worked off in the background, with the state of each.

The things are fixed when the job is made, so that what a person confirmed is what is done. The relay takes a slice of
items at a time, each in a savepoint: a killed relay leaves items either done or not begun.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from perdura import database
from perdura.cloudevents.message import CloudEvent
from perdura.errors import Broken, Conflict, PerduraError, Retryable
from perdura.ids import new_id

LARGEST = 200_000
"""Things of one job at most; more are a second job."""

SLICE = 50
"""Things that are worked on in one transaction."""

WAIT_SECONDS = 30.0
"""How long a job lets the others pass when something is in its way that will pass, too."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """A thing to be worked on."""

    position: int
    archive: UUID | None
    subject: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a job: the name that is told to people, the account, and the scopes of the token they used."""

    name: str
    account: UUID | None
    scopes: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an item became: the Archive that is meant, and CloudEvents that are in the outbox already."""

    archive: UUID | None
    events: Sequence[CloudEvent] = ()


Worker = Callable[[Connection, Mapping[str, Any], Item, Asker], Done]
"""Works on one item: (connection, input of the job, item, who asked) → what it became."""

_MAKE = text("""
    INSERT INTO job (id, act, input, total, created_by, account_id, scopes)
    VALUES (:id, :act, CAST(:input AS jsonb), :total, :by, :account, CAST(:scopes AS text[]))
""")

_ITEMS = text("""
    INSERT INTO job_item (job_id, position, archive_id, subject, input)
    SELECT :job, n, archive, coalesce(subject, ''), coalesce(input, '{}')
    FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS i (n int, archive uuid, subject text, input jsonb)
""")


def make(
    connection: Connection,
    act: str,
    items: Iterable[Mapping[str, Any]],
    *,
    by: Asker,
    given: Mapping[str, Any] | None = None,
) -> UUID:
    """Make a job of items `{archive?, subject?, input?}`. Raises Conflict when there are none, or too many."""
    job, listed = new_id(), list(items)
    if not listed:
        raise Conflict("Nothing matches: there is nothing to do.", code="empty-job")
    if len(listed) > LARGEST:
        raise Conflict(f"More than {LARGEST} things: narrow the filter.", code="job-too-large")
    connection.execute(
        _MAKE,
        {"id": job, "act": act, "input": json.dumps(dict(given or {})), "total": len(listed), "by": by.name,
         "account": by.account, "scopes": None if by.scopes is None else list(by.scopes)},
    )  # fmt: skip
    for first in range(0, len(listed), 10_000):
        some = [
            {"n": first + n, **{name: _plain(value) for name, value in item.items()}}
            for n, item in enumerate(listed[first : first + 10_000])
        ]
        connection.execute(_ITEMS, {"job": job, "items": json.dumps(some)})
    return job


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


_TAKE = text("""
    SELECT id, act, input, created_by, account_id, scopes FROM job
    WHERE state IN ('queued', 'running') AND turn_at <= clock_timestamp() AND act = ANY(:acts)
    ORDER BY turn_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")

_SLICE = text("""
    SELECT position, archive_id, subject, input FROM job_item WHERE job_id = :job AND state = 'queued'
    ORDER BY position LIMIT :limit
""")

_NOTE = text("""
    UPDATE job_item SET state = i.state, code = i.code, message = i.message,
        archive_id = coalesce(i.archive, job_item.archive_id)
    FROM jsonb_to_recordset(CAST(:items AS jsonb)) AS i (n int, state text, code text, message text, archive uuid)
    WHERE job_id = :job AND position = i.n
""")

_COUNT = text("""
    UPDATE job SET state = CASE WHEN :more THEN 'running' ELSE 'completed' END, done = done + :done,
        failed = failed + :failed, finished_at = CASE WHEN NOT :more THEN clock_timestamp() END,
        turn_at = clock_timestamp() + :wait * interval '1 second', waits_for = :waits_for
    WHERE id = :job
""")


@dataclass(frozen=True, slots=True)
class Slice:
    """What was done of a job at once: for whom, about which Archives, and what is to be told of it."""

    job: UUID
    act: str
    by: str
    account: UUID | None
    archives: Sequence[UUID]
    failed: int
    events: Sequence[CloudEvent]


def work(connection: Connection, workers: Mapping[str, Worker]) -> Slice | None:
    """Work on the next slice of the job whose turn it is; None when none is due, or other relays have them.

    What passes (a Retryable error, a database that has no room) ends the slice there: what was done stays done, and
    the rest is tried after a while. Any other error is the end of its item alone.
    """
    job = connection.execute(_TAKE, {"acts": list(workers)}).one_or_none()
    if job is None:
        return None
    asker = Asker(job.created_by, job.account_id, job.scopes)
    rows = connection.execute(_SLICE, {"job": job.id, "limit": SLICE}).all()
    notes: list[dict[str, Any]] = []
    events: list[CloudEvent] = []
    wait: Retryable | None = None
    for row in rows:
        item = Item(row.position, row.archive_id, row.subject, row.input)
        try:
            with connection.begin_nested():
                done = workers[job.act](connection, job.input, item, asker)
        except Exception as error:
            refusal = _told(error)
            if isinstance(refusal, Retryable):
                wait = refusal
                break
            note = {"n": row.position, "state": "failed", "code": refusal.code, "message": refusal.message[:1000]}
            notes.append(note)
        else:
            events += done.events
            notes.append({"n": row.position, "state": "done", "archive": _plain(done.archive)})
    if notes:
        connection.execute(_NOTE, {"job": job.id, "items": json.dumps(notes)})
    failed = sum(note["state"] == "failed" for note in notes)
    counted = {
        "job": job.id,
        "more": wait is not None or len(rows) == SLICE,
        "done": len(notes) - failed,
        "failed": failed,
        "wait": 0 if wait is None else wait.retry_after or WAIT_SECONDS,
        "waits_for": None if wait is None else wait.message[:1000],
    }
    connection.execute(_COUNT, counted)
    archives = [UUID(note["archive"]) for note in notes if note.get("archive")]
    return Slice(job.id, job.act, job.created_by, job.account_id, archives, failed, events)


def _told(error: Exception) -> PerduraError:
    """What an error of an item means; one that is not its own is logged."""
    if isinstance(error, PerduraError):
        return error
    if database.passing(error):
        return Retryable("The database has no room at the moment.", code="database-unavailable")
    _log.error("an item of a job", exc_info=error)
    return Broken("Something went wrong here; its operator was told.", code="internal")


def cancel(connection: Connection, job: UUID) -> None:
    """Do no more of a job; what was done stays. Raises Conflict when it has ended."""
    done = connection.execute(
        text("""
            UPDATE job SET state = 'cancelled', finished_at = clock_timestamp()
            WHERE id = :job AND state IN ('queued', 'running')
        """),
        {"job": job},
    )
    if done.rowcount != 1:
        raise Conflict("The job has ended already.", code="job-ended")
