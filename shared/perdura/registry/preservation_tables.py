"""Tables of preservation: how an Archive is to be preserved, versions of its AIP, Archivematicas and submissions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, ForeignKey, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base

_NOW = text("clock_timestamp()")


class PreservationWish(Base):
    """How one Archive is to be preserved, where that was said: engine, profile, instance, configuration."""

    __tablename__ = "preservation_wish"
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), primary_key=True)
    wish: Mapped[dict[str, Any]] = mapped_column(JSONB)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)


class AipVersion(Base):
    """One version of an Archive's AIP and the one it was made from; which is in use says `package.accepted`."""

    __tablename__ = "aip_version"
    package_id: Mapped[UUID] = mapped_column(ForeignKey("package.id"), primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    predecessor_id: Mapped[UUID | None] = mapped_column(ForeignKey("package.id"))
    number: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text, server_default="")
    additions: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    """Files it has that its submission had not: path, bucket, key, size, sha256, derived_from."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    __table_args__ = (Index("uq_aip_version_number", "archive_id", "number", unique=True),)


class ArchivematicaInstance(Base):
    """What is known of one Archivematica: whether new work goes to it, and how it behaved."""

    __tablename__ = "archivematica_instance"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    mode: Mapped[str] = mapped_column(Text, server_default="active")
    reason: Mapped[str] = mapped_column(Text, server_default="")
    paused_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a pause that a machine began ends by a single trial; None for a person's."""
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    """Requests in a row that it failed."""
    alike: Mapped[int] = mapped_column(Integer, server_default="0")
    failing: Mapped[str] = mapped_column(Text, server_default="")
    """So many packages in a row ended there by this error code, without an AIP."""
    reachable: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    version: Mapped[str | None] = mapped_column(Text)
    pipeline: Mapped[str | None] = mapped_column(Text)
    checked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    __table_args__ = (CheckConstraint("mode IN ('active', 'draining', 'paused')", name="mode"),)


class ArchivematicaSubmission(Base):
    """One SIP on its way through an Archivematica (`perdura.fleet.Submission`)."""

    __tablename__ = "archivematica_submission"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), index=True)
    step_id: Mapped[UUID] = mapped_column(ForeignKey("step.id"), unique=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    wanted: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default="queued")
    instance: Mapped[str | None] = mapped_column(Text)
    configuration: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str | None] = mapped_column(Text)
    ahead: Mapped[int] = mapped_column(Integer, server_default="0")
    ahead_bytes: Mapped[int] = mapped_column(BigInteger, server_default="0")
    tries: Mapped[int] = mapped_column(Integer, server_default="0")
    transfer: Mapped[UUID | None]
    sip: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(Text, server_default="")
    microservice: Mapped[str] = mapped_column(Text, server_default="")
    outcome: Mapped[str | None] = mapped_column(Text)
    refused: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    """Instances whose checks it did not pass."""
    queued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    looked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    moved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'reserved', 'unsure', 'followed', 'stored', 'closed', 'flawed')",
            name="state",
        ),
        Index("ix_archivematica_submission_open", "instance", "state", postgresql_where=text("state <> 'closed'")),
        Index("ix_archivematica_submission_sip", "sip", postgresql_where=text("sip IS NOT NULL")),
    )
