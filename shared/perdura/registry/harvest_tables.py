"""Tables of recurring harvests, of credentials for sources, and of what hosts allow."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base
from perdura.registry.run_states import ItemState, RunState, ScheduleState


def _one_of(column: str, values: type[StrEnum] | tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(str(value)) for value in values)})"


def _created() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


def _instant() -> Mapped[datetime | None]:
    return mapped_column(DateTime(timezone=True))


class Schedule(Base):
    """A recurring harvest: which records of which source, when, how many at once, and what is done with them."""

    __tablename__ = "schedule"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    source: Mapped[str] = mapped_column(Text)
    base_url: Mapped[str | None] = mapped_column(Text)
    """Address of the instance, for sources that have none of their own."""
    way: Mapped[str] = mapped_column(Text)
    query: Mapped[str] = mapped_column(Text, server_default="")
    set_name: Mapped[str | None] = mapped_column(Text)
    follows: Mapped[str] = mapped_column(Text, server_default="updated")
    cron: Mapped[str] = mapped_column(Text)
    pipeline: Mapped[list[str]] = mapped_column(JSONB)
    collection_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id"), index=True)
    record_limit: Mapped[int | None] = mapped_column(Integer)
    concurrency: Mapped[int] = mapped_column(Integer, server_default="4")
    overlap_seconds: Mapped[int] = mapped_column(Integer, server_default="600")
    grace_seconds: Mapped[int] = mapped_column(Integer, server_default="300")
    failures_at_least: Mapped[int] = mapped_column(Integer, server_default="10")
    failure_share: Mapped[float] = mapped_column(Float, server_default="0.25")
    state: Mapped[str] = mapped_column(Text, server_default=ScheduleState.ACTIVE)
    owner: Mapped[UUID | None] = mapped_column()
    """Account that made it: harvests use its credentials."""
    owner_name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Those of the tokens with which it was made and changed; null where nothing narrowed its owner."""
    done_until: Mapped[datetime | None] = _instant()
    """Every record changed before this instant has been queued."""
    next_at: Mapped[datetime | None] = _instant()
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        CheckConstraint(_one_of("state", ScheduleState), name="state"),
        CheckConstraint(_one_of("way", ("search", "oai-pmh")), name="way"),
        CheckConstraint(_one_of("follows", ("updated", "created")), name="follows"),
        CheckConstraint("concurrency BETWEEN 1 AND 100", name="concurrency"),
        Index("ix_schedule_due", "next_at", postgresql_where=text("state = 'active'")),
        Index(None, "created_at", "id"),
    )


class HarvestRun(Base):
    """One execution of a schedule."""

    __tablename__ = "harvest_run"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    schedule_id: Mapped[UUID] = mapped_column(ForeignKey("schedule.id"))
    state: Mapped[str] = mapped_column(Text, server_default=RunState.LISTING)
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it stands still, or what the last look at the upstream said."""
    target: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    forgiven: Mapped[int] = mapped_column(Integer, server_default="0")
    """Failures with which a person let it go on."""
    look_at: Mapped[datetime] = _created()
    """When the listing is asked for again, should its request be lost or its worker die."""
    created_at: Mapped[datetime] = _created()
    listed_at: Mapped[datetime | None] = _instant()
    finished_at: Mapped[datetime | None] = _instant()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        CheckConstraint(_one_of("state", RunState), name="state"),
        Index(None, "schedule_id", "created_at"),
        Index(
            "uq_harvest_run_open",
            "schedule_id",
            unique=True,
            postgresql_where=text("state IN ('listing', 'running', 'paused')"),
        ),
        Index("ix_harvest_run_working", "id", postgresql_where=text("state IN ('listing', 'running')")),
    )


class HarvestBatch(Base):
    """A slice of a run: the records of one window, small enough for the upstream to list them."""

    __tablename__ = "harvest_batch"
    run_id: Mapped[UUID] = mapped_column(ForeignKey("harvest_run.id"))
    number: Mapped[int] = mapped_column(Integer)
    starts: Mapped[datetime | None] = _instant()
    ends: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    first_id: Mapped[str | None] = mapped_column(Text)
    last_id: Mapped[str | None] = mapped_column(Text)
    total: Mapped[int | None] = mapped_column(Integer)
    pages: Mapped[int] = mapped_column(Integer, server_default="0")
    created_at: Mapped[datetime] = _created()
    listed_at: Mapped[datetime | None] = _instant()
    __table_args__ = (PrimaryKeyConstraint("run_id", "number"),)


class HarvestItem(Base):
    """One listed record of a run, and what became of it."""

    __tablename__ = "harvest_item"
    run_id: Mapped[UUID] = mapped_column(ForeignKey("harvest_run.id"))
    recid: Mapped[str] = mapped_column(Text(collation="C"))
    position: Mapped[int] = mapped_column(BigInteger, Identity())
    batch: Mapped[int] = mapped_column(Integer)
    source: Mapped[str] = mapped_column(Text)
    revision: Mapped[str] = mapped_column(Text)
    title: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, server_default=ItemState.QUEUED)
    archive_id: Mapped[UUID | None] = mapped_column(ForeignKey("archive.id"))
    error_code: Mapped[str | None] = mapped_column(Text)
    message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        PrimaryKeyConstraint("run_id", "recid"),
        CheckConstraint(_one_of("state", ItemState), name="state"),
        Index(None, "run_id", "state", "position"),
        Index(None, "run_id", "position"),
        Index(None, "archive_id", postgresql_where=text("archive_id IS NOT NULL")),
        Index("ix_harvest_item_in_work", "source", "recid", postgresql_where=text("state IN ('queued', 'running')")),
    )


class Harvested(Base):
    """The newest state in which a record was harvested: what it is compared with the next time."""

    __tablename__ = "harvested"
    source: Mapped[str] = mapped_column(Text)
    recid: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(Text)
    listed: Mapped[str | None] = mapped_column(Text)
    """The revision under which a listing named it (OAI-PMH has a datestamp instead)."""
    fingerprint: Mapped[str | None] = mapped_column(Text)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), index=True)
    harvested_at: Mapped[datetime] = _created()
    __table_args__ = (PrimaryKeyConstraint("source", "recid"),)


class Credential(Base):
    """A person's credential for one source, encrypted with a key that only the environment knows."""

    __tablename__ = "credential"
    owner: Mapped[UUID] = mapped_column()
    """An account."""
    source: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str] = mapped_column(Text)
    ciphertext: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    used_at: Mapped[datetime | None] = _instant()
    __table_args__ = (PrimaryKeyConstraint("owner", "source"), Index(None, "key_id"))


class HostBudget(Base):
    """The token bucket of one host, shared by all instances; times in Unix seconds of the database's clock."""

    __tablename__ = "host_budget"
    host: Mapped[str] = mapped_column(Text, primary_key=True)
    rate: Mapped[float] = mapped_column(Float)
    burst: Mapped[float] = mapped_column(Float)
    tokens: Mapped[float] = mapped_column(Float)
    at: Mapped[float] = mapped_column(Float)
    blocked_until: Mapped[float] = mapped_column(Float)
    learnt_at: Mapped[float] = mapped_column(Float)
    own_rate: Mapped[float] = mapped_column(Float)


class HostLease(Base):
    """One connection to a host that an instance holds until it gives it back, or its time is over."""

    __tablename__ = "host_lease"
    host: Mapped[str] = mapped_column(Text)
    slot: Mapped[int] = mapped_column(Integer)
    holder: Mapped[UUID] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    __table_args__ = (PrimaryKeyConstraint("host", "slot"), UniqueConstraint("holder", "host", "slot"))
