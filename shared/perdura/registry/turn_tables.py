"""Tables of turns: first steps that wait until there is room for them, and when each share had its last turn."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, Index, Integer, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base

_NOW = text("clock_timestamp()")


class Turn(Base):
    """A first step that waits for its turn; `share` is what it is one of many of, lower lanes go first."""

    __tablename__ = "turn"
    step_id: Mapped[UUID] = mapped_column(ForeignKey("step.id"), primary_key=True)
    lane: Mapped[int] = mapped_column(Integer)
    share: Mapped[str] = mapped_column(Text(collation="C"))
    asked_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
    __table_args__ = (Index("ix_turn_order", "lane", "share", "asked_at"),)


class TurnShare(Base):
    """When a share had its last turn."""

    __tablename__ = "turn_share"
    share: Mapped[str] = mapped_column(Text(collation="C"), primary_key=True)
    given_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=_NOW)
