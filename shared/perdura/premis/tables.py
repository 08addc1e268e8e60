"""Tables of the PREMIS log, as `premis.schema` creates them (premis.md 4.1, models.md 7.6).

Append-only: `premis_log` (every version of every event), `premis_leaf`, `premis_checkpoint`. Everything else can be
rebuilt from them: the head (current state), the object links, the kinds and counts, the tiles of the tree.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Date, DateTime, Integer, LargeBinary, Text, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base

Moment = DateTime(timezone=True)
CodePoints = Text(collation="C")


class LogRow(Base):
    """One version of one event, for ever: `created`, `replaced` or `deleted`. Partitioned by month of recording.

    `xml` is the event element as it was sent, in canonical form; `leaf` the exact bytes that the tree hashes.
    """

    __tablename__ = "premis_log"
    __table_args__ = {"postgresql_partition_by": "RANGE (recorded_at)"}  # noqa: RUF012

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    event_id: Mapped[UUID] = mapped_column(Uuid, index=True)
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    premis_version: Mapped[str | None] = mapped_column(Text)
    xml: Mapped[str] = mapped_column(Text)
    leaf: Mapped[bytes] = mapped_column(LargeBinary)


class Head(Base):
    """The current state of one event, rendered; the only table that pages are read from.

    `sequence` is its place in the order of logging, `log_sequence` that of its newest version.
    """

    __tablename__ = "premis_event"

    event_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    identifier: Mapped[str] = mapped_column(CodePoints)
    sequence: Mapped[int] = mapped_column(BigInteger)
    log_sequence: Mapped[int] = mapped_column(BigInteger)
    kind_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Moment)
    recorded_at: Mapped[datetime] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    version: Mapped[int] = mapped_column(Integer)
    premis_version: Mapped[str | None] = mapped_column(Text)
    objects: Mapped[str] = mapped_column(Text)
    xml: Mapped[str] = mapped_column(Text)


class ObjectLink(Base):
    """One event and one object that it names; found by the text of the identifier, or by the bare name of an ARK."""

    __tablename__ = "premis_object"

    object: Mapped[str] = mapped_column(CodePoints, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    bare: Mapped[str | None] = mapped_column(CodePoints)
    kind_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Moment)
    identifier: Mapped[str] = mapped_column(CodePoints)
    event_id: Mapped[UUID] = mapped_column(Uuid)


class AgentLink(Base):
    """One event and one agent that it names."""

    __tablename__ = "premis_agent_link"

    agent: Mapped[str] = mapped_column(CodePoints, primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind_id: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(Moment)
    identifier: Mapped[str] = mapped_column(CodePoints)
    event_id: Mapped[UUID] = mapped_column(Uuid)


class Kind(Base):
    """An event type together with the distinct outcomes of an event, in their order: a few dozen rows.

    The id is derived from its content, so that concurrent writers agree without asking.
    """

    __tablename__ = "premis_kind"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    type: Mapped[str] = mapped_column(CodePoints)
    outcomes: Mapped[list[str]] = mapped_column(ARRAY(CodePoints))


class Count(Base):
    """Events per day (UTC) and kind."""

    __tablename__ = "premis_count"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    kind_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(BigInteger)


class CountDelta(Base):
    """Changes of the counts that are not folded into them yet: writers only insert, so none waits for another."""

    __tablename__ = "premis_count_delta"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    day: Mapped[date] = mapped_column(Date)
    kind_id: Mapped[int] = mapped_column(BigInteger)
    n: Mapped[int] = mapped_column(BigInteger)


class AgentRow(Base):
    """A registered agent, as sent."""

    __tablename__ = "premis_agent"

    identifier: Mapped[str] = mapped_column(CodePoints, primary_key=True)
    name: Mapped[str] = mapped_column(CodePoints)
    type: Mapped[str] = mapped_column(Text)
    recorded_at: Mapped[datetime] = mapped_column(Moment)
    changed_at: Mapped[datetime] = mapped_column(Moment)
    xml: Mapped[str] = mapped_column(Text)


class Unsealed(Base):
    """Rows of the log that have no leaf yet."""

    __tablename__ = "premis_unsealed"

    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    recorded_at: Mapped[datetime] = mapped_column(Moment)


class Leaf(Base):
    """A leaf of the tree: the row of the log that it stands for, and the hash of its bytes (32 bytes)."""

    __tablename__ = "premis_leaf"

    leaf_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    sequence: Mapped[int] = mapped_column(BigInteger, unique=True)
    recorded_at: Mapped[datetime] = mapped_column(Moment)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class Tile(Base):
    """Up to 256 hashes of one level of the tree (C2SP tlog-tiles); a cache, computed from the leaves."""

    __tablename__ = "premis_tile"

    level: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    tile_index: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)


class Checkpoint(Base):
    """A signed tree head: the note in C2SP form, as published."""

    __tablename__ = "premis_checkpoint"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[bytes] = mapped_column(LargeBinary)
    note: Mapped[str] = mapped_column(Text)
    signed_at: Mapped[datetime] = mapped_column(Moment)


class SigningKey(Base):
    """A public key that signed checkpoints, since when; old keys stay, so that old checkpoints can be verified."""

    __tablename__ = "premis_key"

    verifier: Mapped[str] = mapped_column(Text, primary_key=True)
    first_used_at: Mapped[datetime] = mapped_column(Moment)
