"""Jobs: one act on many things, worked off in the background, with the state of each.

The things are fixed when the job is made, so that what a person confirmed is what is done. The relay takes a slice of
items at a time, each in a savepoint: a killed relay leaves items either done or not begun.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.cloudevents.message import CloudEvent
from perdura.errors import Conflict, PerduraError, Retryable
from perdura.ids import new_id
from perdura.metadata import Base

LARGEST = 200_000
"""Things of one job at most; more are a second job."""

SLICE = 50
"""Things that are worked on in one transaction."""


class JobState(StrEnum):
    """States of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class ItemState(StrEnum):
    """States of one thing of a job."""

    QUEUED = "queued"
    DONE = "done"
    FAILED = "failed"


class Job(Base):
    """One act on many things."""

    __tablename__ = "job"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    act: Mapped[str] = mapped_column(Text)
    input: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    state: Mapped[str] = mapped_column(Text, server_default=JobState.QUEUED)
    total: Mapped[int] = mapped_column(Integer)
    done: Mapped[int] = mapped_column(Integer, server_default="0")
    failed: Mapped[int] = mapped_column(Integer, server_default="0")
    created_by: Mapped[str] = mapped_column(Text)
    account_id: Mapped[UUID | None] = mapped_column()
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'completed', 'cancelled')", name="state"),
        Index(None, "created_at", "id"),
        Index("ix_job_unfinished", "created_at", postgresql_where=text("state IN ('queued', 'running')")),
    )


class JobItem(Base):
    """One thing of a job: an Archive, or something that becomes one. `subject` names it to people."""

    __tablename__ = "job_item"
    job_id: Mapped[UUID] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(Integer)
    archive_id: Mapped[UUID | None] = mapped_column()
    subject: Mapped[str] = mapped_column(Text, server_default="")
    input: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    state: Mapped[str] = mapped_column(Text, server_default=ItemState.QUEUED)
    code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        PrimaryKeyConstraint("job_id", "position"),
        CheckConstraint("state IN ('queued', 'done', 'failed')", name="state"),
        Index(None, "job_id", "state", "position"),
    )


@dataclass(frozen=True, slots=True)
class Item:
    """A thing to be worked on."""

    position: int
    archive: UUID | None
    subject: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asked for a job: the name that is told to people, and the account; the local administrator has none."""

    name: str
    account: UUID | None


@dataclass(frozen=True, slots=True)
class Done:
    """What an item became: the Archive that is meant, and CloudEvents that are in the outbox already."""

    archive: UUID | None
    events: Sequence[CloudEvent] = ()


Worker = Callable[[Connection, Mapping[str, Any], Item, Asker], Done]
"""Works on one item: (connection, input of the job, item, who asked) → what it became."""

_MAKE = text("""
    INSERT INTO job (id, act, input, total, created_by, account_id)
    VALUES (:id, :act, CAST(:input AS jsonb), :total, :by, :account)
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
    by: str,
    account: UUID | None = None,
    step_input: Mapping[str, Any] | None = None,
) -> UUID:
    """Make a job of items `{archive?, subject?, input?}`. Raises Conflict when there are none, or too many."""
    job, listed = new_id(), list(items)
    if not listed:
        raise Conflict("Nothing matches: there is nothing to do.", code="empty-job")
    if len(listed) > LARGEST:
        raise Conflict(f"More than {LARGEST} things: narrow the filter.", code="job-too-large")
    connection.execute(
        _MAKE,
        {"id": job, "act": act, "input": json.dumps(dict(step_input or {})), "total": len(listed), "by": by,
         "account": account},
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
    SELECT id, act, input, created_by, account_id FROM job WHERE state IN ('queued', 'running')
    ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
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
        failed = failed + :failed, finished_at = CASE WHEN NOT :more THEN clock_timestamp() END
    WHERE id = :job
""")


@dataclass(frozen=True, slots=True)
class Slice:
    """What was done of a job at once: for whom, about which Archives, and what is to be told of it.

    `go_on` is False where nothing more can be done now.
    """

    job: UUID
    act: str
    by: str
    account: UUID | None
    archives: Sequence[UUID]
    failed: int
    events: Sequence[CloudEvent]
    go_on: bool


def work(connection: Connection, workers: Mapping[str, Worker]) -> Slice | None:
    """Work on the next slice of the oldest job; None when there is none, or another relay has it.

    A Retryable error ends the slice there: what was done stays done, the rest is tried at the next call.
    """
    job = connection.execute(_TAKE).one_or_none()
    if job is None:
        return None
    asker = Asker(job.created_by, job.account_id)
    rows = connection.execute(_SLICE, {"job": job.id, "limit": SLICE}).all()
    notes: list[dict[str, Any]] = []
    events: list[CloudEvent] = []
    waiting = False
    for row in rows:
        item = Item(row.position, row.archive_id, row.subject, row.input)
        try:
            with connection.begin_nested():
                done = workers[job.act](connection, job.input, item, asker)
        except Retryable:
            waiting = True
            break
        except PerduraError as error:
            notes.append({"n": row.position, "state": "failed", "code": error.code, "message": error.message[:1000]})
        else:
            events += done.events
            notes.append({"n": row.position, "state": "done", "archive": _plain(done.archive)})
    if notes:
        connection.execute(_NOTE, {"job": job.id, "items": json.dumps(notes)})
    failed = sum(note["state"] == "failed" for note in notes)
    more = waiting or len(rows) == SLICE
    connection.execute(_COUNT, {"job": job.id, "more": more, "done": len(notes) - failed, "failed": failed})
    archives = [UUID(note["archive"]) for note in notes if note.get("archive")]
    return Slice(job.id, job.act, job.created_by, job.account_id, archives, failed, events, not waiting)


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
