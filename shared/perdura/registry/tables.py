"""Tables of the registry (architecture §5). Constraints are in the database, so that no caller can forget them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base
from perdura.outcome import CopyState, PackageKind, StepState
from perdura.registry.transitions import ArchiveState


def _one_of(column: str, values: type[StepState] | type[ArchiveState] | type[PackageKind]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def _created() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


class Resource(Base):
    """One upstream item: unique (source, recid)."""

    __tablename__ = "resource"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    recid: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    __table_args__ = (UniqueConstraint("source", "recid"),)


class Archive(Base):
    """One preservation of one version of a Resource, or of one deposit."""

    __tablename__ = "archive"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    resource_id: Mapped[UUID | None] = mapped_column(ForeignKey("resource.id"))
    title: Mapped[str] = mapped_column(Text, server_default="")
    state: Mapped[str] = mapped_column(Text, server_default=ArchiveState.QUEUED)
    pipeline: Mapped[list[str]] = mapped_column(JSONB)
    origin: Mapped[str] = mapped_column(Text)
    """deposit, upload, harvest or announcement."""
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'"))
    restricted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    content_sha256: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        CheckConstraint(_one_of("state", ArchiveState), name="state"),
        Index(None, "created_at", "id"),
        Index(None, "state", "created_at", "id"),
        Index(None, "resource_id"),
        Index(
            "ix_archive_embargo",
            text("(metadata ->> 'embargo_until')"),
            postgresql_where=text("metadata ? 'embargo_until'"),
        ),
        Index("ix_archive_restricted", "id", postgresql_where=text("restricted")),
        Index(None, "content_sha256", postgresql_where=text("content_sha256 IS NOT NULL")),
    )


class Package(Base):
    """A stored SIP, AIP or DIP."""

    __tablename__ = "package"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    kind: Mapped[str] = mapped_column(Text)
    bucket: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    version_id: Mapped[str | None] = mapped_column(Text)
    etag: Mapped[str | None] = mapped_column(Text)
    container: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    checksums: Mapped[dict[str, str]] = mapped_column(JSONB)
    accepted: Mapped[bool] = mapped_column(Boolean)
    retain_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Until when the store refuses to delete this version (Object Lock)."""
    index_key: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    __table_args__ = (
        CheckConstraint(_one_of("kind", PackageKind), name="kind"),
        CheckConstraint("size >= 0", name="size"),
        Index(None, "archive_id", "created_at"),
        Index("uq_package_aip", "archive_id", unique=True, postgresql_where=text("kind = 'AIP' AND accepted")),
    )


class Copy(Base):
    """One placement of a package, with the time it was last verified there, and whether it still counts."""

    __tablename__ = "copy"
    package_id: Mapped[UUID] = mapped_column(ForeignKey("package.id"))
    location: Mapped[str] = mapped_column(Text)
    uri: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    checksums: Mapped[dict[str, str]] = mapped_column(JSONB)
    verified_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(Text, server_default=CopyState.HELD)
    """A `CopyState`."""
    created_at: Mapped[datetime] = _created()
    __table_args__ = (
        PrimaryKeyConstraint("package_id", "location"),
        Index("ix_copy_broken", "location", "package_id", postgresql_where=text("state <> 'held'")),
        Index(
            "ix_copy_audit",
            text("coalesce(verified_at, '-infinity'::timestamptz)"),
            postgresql_where=text("location = 'object-store' AND state = 'held'"),
        ),
        Index(None, "verified_at"),
    )


class PackageFile(Base):
    """One payload file of a package."""

    __tablename__ = "package_file"
    package_id: Mapped[UUID] = mapped_column(ForeignKey("package.id"))
    path: Mapped[str] = mapped_column(Text(collation="C"))
    size: Mapped[int] = mapped_column(BigInteger)
    checksums: Mapped[dict[str, str]] = mapped_column(JSONB)
    offset: Mapped[int | None] = mapped_column(BigInteger)
    format_name: Mapped[str | None] = mapped_column(Text)
    format_key: Mapped[str | None] = mapped_column(Text)
    media_type: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (PrimaryKeyConstraint("package_id", "path"),)


class Step(Base):
    """One run of one function for one Archive."""

    __tablename__ = "step"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    name: Mapped[str] = mapped_column(Text)
    position: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer, server_default="1")
    state: Mapped[str] = mapped_column(Text, server_default=StepState.QUEUED)
    input: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    checkpoint: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    output: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"))
    progress: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error_code: Mapped[str | None] = mapped_column(Text)
    error_message: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    """Source, id and carried extensions of the CloudEvent that asked for it, for what follows much later."""
    deliveries: Mapped[int] = mapped_column(Integer, server_default="0")
    """How many invocations have worked on this attempt."""
    failures: Mapped[dict[str, dict[str, float]]] = mapped_column(JSONB, server_default=text("'{}'"))
    """By error code: how many invocations it ended since the step last got on, and the first (seconds of the epoch)."""
    poll_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When a waiting step looks again, or when a stuck one is asked for again."""
    held_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Until when a waiting step belongs to the tick that looks at it, and by which it knows that it still does."""
    created_at: Mapped[datetime] = _created()
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = _created()
    progress_at: Mapped[datetime] = _created()
    """When it last got on; tries, looks and requests that change nothing leave it as it is."""
    __table_args__ = (
        CheckConstraint(_one_of("state", StepState), name="state"),
        UniqueConstraint("archive_id", "position", "attempt"),
        Index("ix_step_waiting", "name", "poll_at", postgresql_where=text("state = 'waiting'")),
        Index("ix_step_blocked", "name", postgresql_where=text("state = 'blocked'")),
        Index("ix_step_unfinished", "poll_at", postgresql_where=text("state IN ('queued', 'running', 'waiting')")),
        Index(
            "ix_step_recalled",
            text("(output #>> '{recall,expires_at}')"),
            postgresql_where=text("name = 'recall' AND state = 'completed'"),
        ),
        Index("ix_step_unsuccessful", "error_code", "updated_at", postgresql_where=text("error_code IS NOT NULL")),
    )


class Pipeline(Base):
    """A named plan: the ordered steps an Archive will go through; data, not code."""

    __tablename__ = "pipeline"
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    steps: Mapped[list[str]] = mapped_column(JSONB)
    description: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime] = _created()


class Collection(Base):
    """A named set of Archives."""

    __tablename__ = "collection"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    description: Mapped[str] = mapped_column(Text, server_default="")
    restricted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
    created_at: Mapped[datetime] = _created()


class CollectionMember(Base):
    """An Archive's membership in a Collection."""

    __tablename__ = "collection_member"
    collection_id: Mapped[UUID] = mapped_column(ForeignKey("collection.id"))
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    created_at: Mapped[datetime] = _created()
    __table_args__ = (PrimaryKeyConstraint("collection_id", "archive_id"), Index(None, "archive_id"))


class Deposit(Base):
    """An announced upload: the Archive it will become, and where its bytes are to arrive."""

    __tablename__ = "deposit"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), unique=True)
    bucket: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(Text)
    upload_id: Mapped[str | None] = mapped_column(Text)
    """Of an upload in parts: what the store calls it."""
    part_size: Mapped[int | None] = mapped_column(BigInteger)
    account_id: Mapped[UUID | None] = mapped_column()
    """Who announced it, and may cancel it while it waits."""
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Set while nothing was received; what arrives later is left alone."""
    received_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = _created()
    __table_args__ = (
        UniqueConstraint("bucket", "key"),
        Index("ix_deposit_sha256", "sha256", postgresql_where=text("sha256 IS NOT NULL")),
        Index(None, "created_at", "id"),
        Index(None, "account_id", "created_at", "id"),
        Index(
            "ix_deposit_waiting",
            "created_at",
            "id",
            postgresql_where=text("received_at IS NULL AND cancelled_at IS NULL"),
        ),
    )


class Publication(Base):
    """Where an Archive can be found by those for whom it is kept."""

    __tablename__ = "publication"
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    destination: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime] = _created()
    changed_at: Mapped[datetime] = _created()
    __table_args__ = (
        PrimaryKeyConstraint("archive_id", "destination"),
        Index(None, "destination", "changed_at", "archive_id"),
        Index(None, "destination", "published_at", "archive_id"),
    )


class Inbox(Base):
    """CloudEvents that a consumer has finished with (architecture §3.2)."""

    __tablename__ = "inbox"
    consumer: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    id: Mapped[str] = mapped_column(Text)
    finished_at: Mapped[datetime] = _created()
    __table_args__ = (PrimaryKeyConstraint("consumer", "source", "id"), Index(None, "finished_at"))


class Outbox(Base):
    """CloudEvents that the world has to hear: written with what caused them, emitted after it is committed."""

    __tablename__ = "outbox"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), unique=True)
    event: Mapped[dict[str, Any]] = mapped_column(JSONB)
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    next_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = _created()
    __table_args__ = (
        Index("ix_outbox_due", "next_at", postgresql_where=text("delivered_at IS NULL")),
        Index("ix_outbox_delivered", "delivered_at", postgresql_where=text("delivered_at IS NOT NULL")),
    )


class Intent(Base):
    """An outside effect: noted before it is asked for, confirmed when it is answered (architecture §3.3)."""

    __tablename__ = "intent"
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    step_id: Mapped[UUID] = mapped_column(ForeignKey("step.id"), index=True)
    intent: Mapped[dict[str, Any]] = mapped_column(JSONB)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    declared_at: Mapped[datetime] = _created()
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WorkUnit(Base):
    """A part of a step that one invocation can finish, with the checkpoint of what is done of it."""

    __tablename__ = "work_unit"
    step_id: Mapped[UUID] = mapped_column(ForeignKey("step.id"))
    key: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=StepState.QUEUED)
    checkpoint: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When it first failed since it last got on."""
    run_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        PrimaryKeyConstraint("step_id", "key"),
        CheckConstraint(_one_of("state", StepState), name="state"),
        Index("ix_work_unit_due", "run_at", postgresql_where=text("state IN ('queued', 'running')")),
    )


class Heartbeat(Base):
    """When each recurring duty was last done, by whichever instance did it."""

    __tablename__ = "heartbeat"
    duty: Mapped[str] = mapped_column(Text, primary_key=True)
    done_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
