"""Content that is kept once: which Archive was the first to hold it (the adapter of `perdura.ports.Contents`)."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Engine, ForeignKey, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base


class Content(Base):
    """A payload, named by `ingest.content_digest`, and the Archive that holds it."""

    __tablename__ = "content"
    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


# A holder that was refused or given up holds nothing, and what is restricted is nobody else's business.
_CLAIM = text("""
    INSERT INTO content (sha256, archive_id) VALUES (:sha256, :archive)
    ON CONFLICT (sha256) DO UPDATE SET archive_id = excluded.archive_id, created_at = clock_timestamp()
    WHERE (SELECT state IN ('rejected', 'cancelled', 'failed') FROM archive WHERE id = content.archive_id)
""")

# A statement of its own: it sees what the other one of two that raced has committed.
_HOLDER = text("""
    SELECT archive_id FROM content JOIN archive ON archive.id = archive_id
    WHERE sha256 = :sha256 AND archive_id <> :archive AND NOT restricted
""")


class RegistryContents:
    """Claims content for one Archive, at once, in transactions of their own: of two that race one is told."""

    def __init__(self, engine: Engine, archive: UUID) -> None:
        self._engine = engine
        self._archive = archive

    def claim(self, sha256: str) -> UUID | None:
        """The other Archive that holds this content; None when it is this one's, now or since an earlier claim."""
        with self._engine.begin() as connection:
            wanted = {"sha256": sha256, "archive": self._archive}
            if connection.execute(_CLAIM, wanted).rowcount == 1:
                return None
            return connection.execute(_HOLDER, wanted).scalar_one_or_none()
