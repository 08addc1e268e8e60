"""Tables of access: the records that Archives became on access systems."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Index, PrimaryKeyConstraint, Text, func, text
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
