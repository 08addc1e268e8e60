"""Tables of jobs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, Integer, PrimaryKeyConstraint, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base


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
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """What the token may do with which it was asked for; none: all that the account may."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    turn_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    """When its next slice is due: jobs take turns, and one that waits for something lets the others pass."""
    waits_for: Mapped[str | None] = mapped_column(Text)
    """What was in the way of its last slice."""
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    __table_args__ = (
        CheckConstraint("state IN ('queued', 'running', 'completed', 'cancelled')", name="state"),
        Index(None, "created_at", "id"),
        Index("ix_job_turn", "turn_at", postgresql_where=text("state IN ('queued', 'running')")),
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
