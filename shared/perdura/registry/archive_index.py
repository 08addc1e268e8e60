"""What Archives are found and counted by: one narrow row per Archive, and counters; kept by triggers (migration).

No caller writes these tables: the database derives them at commit from archive, step, package and package_file, so that
no step can forget to. Counters are appended as changes and folded now and then, so that no two workers ever wait for
one another on a counter.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base


class ArchiveIndex(Base):
    """What an Archive is found by. `steps` holds `name:state` of the last attempt of every step."""

    __tablename__ = "archive_index"
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(Text)
    restricted: Mapped[bool] = mapped_column(Boolean)
    origin: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    recid: Mapped[str] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes of the newest AIP, else of the newest other package."""
    steps: Mapped[list[str]] = mapped_column(ARRAY(Text))
    step: Mapped[str] = mapped_column(Text)
    """The step of the pipeline that was reached; empty before the first."""
    cause: Mapped[str] = mapped_column(Text)
    """Error code of that step when it failed or is blocked; else empty."""
    formats: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Format keys (PRONOM identifiers) of its files."""
    search: Mapped[str] = mapped_column(TSVECTOR)
    """Words of its title and of every text of its metadata, parted by punctuation, without accents (`archive_words`).

    Those of what the access pages show have the weight A.
    """
    __table_args__ = (
        Index(None, "created_at", "archive_id"),
        Index(None, "state", "created_at", "archive_id"),
        Index(None, "source", "created_at", "archive_id"),
        Index(None, "origin", "created_at", "archive_id"),
        Index(None, "cause", "created_at", "archive_id", postgresql_where=text("cause <> ''")),
        Index(None, "recid", postgresql_where=text("recid <> ''")),
        Index(None, "size"),
        Index(None, "steps", postgresql_using="gin"),
        Index(None, "formats", postgresql_using="gin"),
        Index(None, "search", postgresql_using="gin"),
    )


class PackageFormat(Base):
    """How many files and bytes of each format a package holds."""

    __tablename__ = "package_format"
    package_id: Mapped[UUID] = mapped_column(ForeignKey("package.id", ondelete="CASCADE"))
    format_key: Mapped[str] = mapped_column(Text)
    format_name: Mapped[str] = mapped_column(Text)
    files: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (PrimaryKeyConstraint("package_id", "format_key"),)


class ArchiveCount(Base):
    """Archives and their bytes by everything that has few values; exact together with the changes not yet folded."""

    __tablename__ = "archive_count"
    state: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    restricted: Mapped[bool] = mapped_column(Boolean)
    origin: Mapped[str] = mapped_column(Text)
    step: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text)
    archives: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (PrimaryKeyConstraint("state", "source", "restricted", "origin", "step", "cause"),)


class ArchiveChange(Base):
    """A change of a count that is not folded yet."""

    __tablename__ = "archive_change"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    restricted: Mapped[bool] = mapped_column(Boolean)
    origin: Mapped[str] = mapped_column(Text)
    step: Mapped[str] = mapped_column(Text)
    cause: Mapped[str] = mapped_column(Text)
    archives: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)


class DailyCount(Base):
    """How much of what happened on each day (UTC).

    | measure | name | detail | bucket | amount |
    |---|---|---|---|---|
    | archive | origin | | | |
    | finished | final state | | | |
    | step | step | final state | ⌈log2 of its seconds⌉ | milliseconds |
    | failure | step | error code | | |
    | package | kind | | | bytes |
    | format | format key | format name | | bytes; `count` is files |
    | holder | format key | | | `count` is Archives that hold it |

    Formats are many and their days are of no interest: `format` and `holder` are counted by year. What of each measure
    comes from restricted Archives is counted once more, as `restricted-<measure>`.
    """

    __tablename__ = "daily_count"
    day: Mapped[date] = mapped_column(Date)
    measure: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    bucket: Mapped[int] = mapped_column(SmallInteger)
    count: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    __table_args__ = (PrimaryKeyConstraint("measure", "day", "name", "detail", "bucket"),)


class ArchiveFinish(Base):
    """How often an Archive came to an end on a day, in which state: what is counted of one can be found again."""

    __tablename__ = "archive_finish"
    archive_id: Mapped[UUID] = mapped_column(ForeignKey("archive.id", ondelete="CASCADE"))
    day: Mapped[date] = mapped_column(Date)
    state: Mapped[str] = mapped_column(Text)
    times: Mapped[int] = mapped_column(Integer)
    __table_args__ = (PrimaryKeyConstraint("archive_id", "day", "state"),)


class DailyChange(Base):
    """A change of a daily count that is not folded yet."""

    __tablename__ = "daily_change"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    day: Mapped[date] = mapped_column(Date)
    measure: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
    bucket: Mapped[int] = mapped_column(SmallInteger)
    count: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)


_FOLD_ARCHIVES = text("""
    WITH gone AS (DELETE FROM archive_change RETURNING *)
    INSERT INTO archive_count AS kept (state, source, restricted, origin, step, cause, archives, bytes)
    SELECT state, source, restricted, origin, step, cause, sum(archives), sum(bytes) FROM gone
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (state, source, restricted, origin, step, cause)
    DO UPDATE SET archives = kept.archives + excluded.archives, bytes = kept.bytes + excluded.bytes
""")

_FOLD_DAYS = text("""
    WITH gone AS (DELETE FROM daily_change RETURNING *)
    INSERT INTO daily_count AS kept (day, measure, name, detail, bucket, count, amount)
    SELECT day, measure, name, detail, bucket, sum(count), sum(amount) FROM gone
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
    ON CONFLICT (measure, day, name, detail, bucket)
    DO UPDATE SET count = kept.count + excluded.count, amount = kept.amount + excluded.amount
""")


def fold(connection: Connection) -> None:
    """Add the changes to the counts. Readers see the same sums before, during and after."""
    connection.execute(_FOLD_ARCHIVES)
    connection.execute(_FOLD_DAYS)


class SearchRebuild(Base):
    """How far down the words of Archives were taken anew after their rule has changed; no row: all were."""

    __tablename__ = "search_rebuild"
    before: Mapped[UUID] = mapped_column(primary_key=True)


_LOCK_WORDS = text("""
    SELECT archive_id FROM archive_index WHERE archive_id < (SELECT before FROM search_rebuild)
    ORDER BY archive_id DESC LIMIT :limit FOR UPDATE
""")

_TAKE_WORDS = text("""
    UPDATE archive_index SET search = taken.words
    FROM (SELECT id, archive_words(title, metadata) AS words FROM archive WHERE id = ANY(:ids)) AS taken
    WHERE archive_id = taken.id AND search IS DISTINCT FROM taken.words
""")


def take_words(connection: Connection, limit: int) -> int:
    """Take the words of the next Archives anew, the newest first; returns of how many, 0 when all are done.

    The rows are locked before their texts are read, so that what is written meanwhile is not undone; whoever holds one
    of them is not waited for long, and this try has failed then (a DBAPIError).
    """
    if connection.execute(text("SELECT before FROM search_rebuild FOR UPDATE SKIP LOCKED")).one_or_none() is None:
        return 0
    connection.execute(text("SET LOCAL lock_timeout = '200ms'"))
    ids = connection.execute(_LOCK_WORDS, {"limit": limit}).scalars().all()
    if not ids:
        connection.execute(text("DELETE FROM search_rebuild"))
        return 0
    connection.execute(_TAKE_WORDS, {"ids": ids})
    connection.execute(text("UPDATE search_rebuild SET before = :last"), {"last": ids[-1]})
    return len(ids)
