"""Where the packages lie that were taken over from another platform: whose they are is known while they lie there."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, ForeignKey, PrimaryKeyConstraint, Text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base


class TakenOver(Base):
    """An object, or everything below a prefix that ends in `/`, of which an Archive was made."""

    __tablename__ = "taken_over"
    bucket: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id"), index=True)
    etag: Mapped[str | None] = mapped_column(Text)
    """The state of the object that it was; null for any, and for a prefix."""
    __table_args__ = (PrimaryKeyConstraint("bucket", "key", "archive_id"),)


def note(connection: Connection, archive: UUID, bucket: str, key: str, etag: str | None = None) -> None:
    """Note that an object, or what lies below a prefix, became part of an Archive."""
    row = {"archive_id": archive, "bucket": bucket, "key": key, "etag": etag}
    connection.execute(insert(TakenOver).values(row).on_conflict_do_nothing())
