"""Tables of tape: the jobs asked for, the state of the destination, and the containers of small AIPs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
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

from perdura.metadata import Base

LOCATION = "tape"
"""The destination as `copy.location` names it."""


def _created() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class TapeContainer(Base):
    """A container of small AIPs: one file on tape."""

    __tablename__ = "tape_container"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    adler32: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TapeContainerMember(Base):
    """One AIP of a container: its place in the order, and where its bytes begin. The registry's copy of the index."""

    __tablename__ = "tape_container_member"
    container_id: Mapped[UUID] = mapped_column(ForeignKey("tape_container.id"))
    position: Mapped[int] = mapped_column(Integer)
    package_id: Mapped[UUID] = mapped_column(ForeignKey("package.id"))
    offset: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger)
    checksums: Mapped[dict[str, str]] = mapped_column(JSONB)
    __table_args__ = (PrimaryKeyConstraint("container_id", "position"), Index(None, "package_id"))


class TapeJob(Base):
    """A job asked of the tape system, noted before it is asked for. `ended_at` NULL: in flight."""

    __tablename__ = "tape_job"
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[str | None] = mapped_column(Text, unique=True)
    asked_as: Mapped[str | None] = mapped_column(Text)
    """The id that it would be given when it was asked for last: ids depend on what the tape system takes us for."""
    asked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    archive_id: Mapped[UUID | None] = mapped_column(ForeignKey("archive.id"), index=True)
    container_id: Mapped[UUID | None] = mapped_column(ForeignKey("tape_container.id"), index=True)
    path: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    priority: Mapped[int] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(Text, server_default="intended")
    reason: Mapped[str | None] = mapped_column(Text)
    server: Mapped[str | None] = mapped_column(Text)
    holder: Mapped[str | None] = mapped_column(Text)
    file_state: Mapped[str | None] = mapped_column(Text)
    log_file: Mapped[str | None] = mapped_column(Text)
    wanted_priority: Mapped[int | None] = mapped_column(Integer)
    cancelled_by: Mapped[str | None] = mapped_column(Text)
    intended_at: Mapped[datetime] = _created()
    submitted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    looked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    __table_args__ = (
        CheckConstraint("priority BETWEEN 1 AND 5 AND coalesce(wanted_priority, 1) BETWEEN 1 AND 5", name="priority"),
        Index("ix_tape_job_open", "intended_at", postgresql_where=text("ended_at IS NULL")),
        Index(None, "intended_at", "key"),
    )


class TapeJobRetry(Base):
    """An attempt of the tape system's own that failed before another, kept longer than it keeps it itself."""

    __tablename__ = "tape_job_retry"
    key: Mapped[str] = mapped_column(ForeignKey("tape_job.key"))
    attempt: Mapped[int] = mapped_column(Integer)
    failed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    reason: Mapped[str] = mapped_column(Text)
    host: Mapped[str | None] = mapped_column(Text)
    log_file: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (PrimaryKeyConstraint("key", "attempt", "failed_at"),)


class TapeDestination(Base):
    """What holds for a destination as a whole: a pause that a person ordered, and our credentials as last seen."""

    __tablename__ = "tape_destination"
    location: Mapped[str] = mapped_column(Text, primary_key=True)
    paused_by: Mapped[str | None] = mapped_column(Text)
    pause_reason: Mapped[str | None] = mapped_column(Text)
    paused_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    credentials: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    credentials_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
