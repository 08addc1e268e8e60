"""Tables of access: the records that Archives became on access systems, and what the access pages offer of each."""

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
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base


class Placement(Base):
    """The record of one Archive at one destination."""

    __tablename__ = "placement"
    destination: Mapped[str] = mapped_column(Text)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    record_id: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    __table_args__ = (
        PrimaryKeyConstraint("destination", "archive_id"),
        CheckConstraint("state IN ('draft', 'in-review', 'published', 'withdrawn')", name="state"),
        Index(None, "archive_id"),
    )


class PlacedRecord(Base):
    """A record that was ever made of an Archive at a destination: a renewed AIP may have become another one."""

    __tablename__ = "placed_record"
    destination: Mapped[str] = mapped_column(Text)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"))
    record_id: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    __table_args__ = (
        PrimaryKeyConstraint("destination", "archive_id", "record_id"),
        Index(None, "archive_id"),
    )


class Withdrawal(Base):
    """A decision that an Archive is to be on a destination (or on any) no longer; it stands until it is lifted."""

    __tablename__ = "withdrawal"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), index=True)
    destination: Mapped[str | None] = mapped_column(Text)
    decided_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    lifted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PublicationLease(Base):
    """Who alone publishes a Resource on an access system, until `ends_at` unless it is renewed."""

    __tablename__ = "publication_lease"
    system: Mapped[str] = mapped_column(Text)
    resource: Mapped[str] = mapped_column(Text)
    token: Mapped[UUID]
    ends_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    __table_args__ = (PrimaryKeyConstraint("system", "resource"),)


class Offer(Base):
    """What readers of the access pages may have of one Archive: by the policy when it was published last."""

    __tablename__ = "offer"
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), primary_key=True)
    package_id: Mapped[UUID] = mapped_column(ForeignKey("package.id"))
    content: Mapped[str] = mapped_column(Text)
    files: Mapped[int] = mapped_column(Integer)
    file_bytes: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (
        CheckConstraint("content IN ('metadata', 'dip', 'aip')", name="content"),
        Index(None, "package_id"),
    )


class OfferFile(Base):
    """One file of an offer: its name there, and its path in the AIP."""

    __tablename__ = "offer_file"
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("offer.archive_id"))
    name: Mapped[str] = mapped_column(Text(collation="C"))
    path: Mapped[str] = mapped_column(Text(collation="C"))
    __table_args__ = (
        PrimaryKeyConstraint("archive_id", "name"),
        UniqueConstraint("archive_id", "path"),
    )
