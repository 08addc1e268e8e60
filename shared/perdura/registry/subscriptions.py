"""Subscriptions: who wants to hear of what, and what is still to be told.

A notice is written by a trigger, in the transaction of the CloudEvent that it is about: none is lost, none is told
twice because a relay died. Everything that is due for one subscription goes out as one message: many failures are one
digest, not a flood.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Connection,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from perdura.metadata import Base

KINDS: dict[str, str] = {
    "org.perdura.step.failed.v1": "failed",
    "org.perdura.sip.rejected.v1": "rejected",
    "org.perdura.archive.completed.v1": "completed",
    "org.perdura.fixity.failed.v1": "fixity-failed",
}
"""CloudEvent type → what a subscription calls it."""

AT_ONCE = 500
"""Notices of one message to a program at most; the next ones follow at once."""

LISTED = 50
"""Lines of a mail at most; the rest is counted."""

COUNTED = 100_000
"""Notices that one mail covers at most."""

GIVE_UP = 20
"""Failures in a row after which a subscription is paused."""


class Subscription(Base):
    """What one account wants to hear, how, and how often at most."""

    __tablename__ = "subscription"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(index=True)
    owner: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Those of the token with which it was made; null where nothing narrowed its account."""
    way: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    """Signs what is sent to an address, sealed; only its owner was ever shown it. Empty where nothing is signed."""
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    collection_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), index=True)
    source: Mapped[str | None] = mapped_column(Text)
    every_minutes: Mapped[int] = mapped_column(Integer, server_default="0")
    active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    failures: Mapped[int] = mapped_column(Integer, server_default="0")
    last_error: Mapped[str | None] = mapped_column(Text)
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When it was last its turn, whatever came of it: accounts take turns."""
    next_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    __table_args__ = (CheckConstraint("way IN ('email', 'webhook', 'cloudevents')", name="way"),)


class Notice(Base):
    """One CloudEvent that a subscription is still to be told of."""

    __tablename__ = "notice"
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id", ondelete="CASCADE"))
    archive_id: Mapped[UUID | None] = mapped_column()
    event: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    __table_args__ = (Index(None, "subscription_id", "id"),)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One that has something to be told, locked for this transaction."""

    id: UUID
    account: UUID | None
    owner: str
    way: str
    address: str
    secret: str
    scopes: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be told to whom now.

    `covered` are the ids of the notices that this message tells of, by number and kind (`counts`, by type of event);
    `notices` are those of them that it tells one by one. `more` wait for another message.
    """

    to: Subscriber
    notices: Sequence[tuple[int, UUID | None, dict[str, Any]]]
    titles: Mapping[UUID, str]
    covered: Sequence[int]
    counts: Mapping[str, int]
    more: int


_TAKE = text("""
    SELECT id, account_id, owner, way, address, secret, scopes FROM subscription
    WHERE active AND next_at <= clock_timestamp()
        AND EXISTS (SELECT FROM notice WHERE notice.subscription_id = subscription.id)
    ORDER BY (SELECT max(tried_at) FROM subscription AS other WHERE other.account_id = subscription.account_id)
        NULLS FIRST, next_at
    LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
""")


def take(connection: Connection) -> Subscriber | None:
    """Lock one that has something to be told, of the account whose turn it is; None when nothing is to be told.

    Whoever writes a notice for it meanwhile neither waits nor is in the way.
    """
    row = connection.execute(_TAKE).one_or_none()
    return None if row is None else Subscriber(*row)


def stop(connection: Connection, subscription: UUID, reason: str) -> None:
    """Pause one, and forget what it was to be told."""
    connection.execute(text("DELETE FROM notice WHERE subscription_id = :id"), {"id": subscription})
    connection.execute(
        text("UPDATE subscription SET active = false, last_error = :reason WHERE id = :id"),
        {"id": subscription, "reason": reason},
    )


_WAITING = text("""
    SELECT id, event ->> 'type' AS type FROM notice WHERE subscription_id = :id ORDER BY id LIMIT :limit
""")

_LEASE = text("""
    UPDATE subscription SET tried_at = clock_timestamp(), next_at = clock_timestamp() + interval '2 minutes'
    WHERE id = :id
""")


def to_tell(connection: Connection, to: Subscriber) -> Due | None:
    """What is to be told now, if anything; nobody else tells it meanwhile, unless whoever does has died.

    A mail covers all that waits, and lists the first of it. A message to a program has all that it covers, one by one.
    """
    covers, lists = (COUNTED, LISTED) if to.way == "email" else (AT_ONCE, AT_ONCE)
    waiting = connection.execute(_WAITING, {"id": to.id, "limit": covers}).all()
    if not waiting:
        return None
    number: int = connection.execute(
        text("SELECT count(*) FROM notice WHERE subscription_id = :id"), {"id": to.id}
    ).scalar_one()
    notices = connection.execute(
        text("SELECT id, archive_id, event FROM notice WHERE id = ANY(:ids) ORDER BY id"),
        {"ids": [notice.id for notice in waiting[:lists]]},
    ).all()
    titles = connection.execute(
        text("SELECT id, title FROM archive WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [notice.archive_id for notice in notices if notice.archive_id is not None]},
    )
    connection.execute(_LEASE, {"id": to.id})
    return Due(
        to,
        [(notice.id, notice.archive_id, notice.event) for notice in notices],
        {title.id: title.title for title in titles},
        [notice.id for notice in waiting],
        Counter(notice.type for notice in waiting),
        number - len(waiting),
    )


def told(connection: Connection, due: Due) -> None:
    """Forget what was told, and keep quiet for as long as the subscription wants, unless more waited already."""
    connection.execute(text("DELETE FROM notice WHERE id = ANY(:ids)"), {"ids": due.covered})
    connection.execute(
        text("""
            UPDATE subscription SET failures = 0, last_error = NULL, sent_at = clock_timestamp(),
                next_at = clock_timestamp()
                    + CASE WHEN :more THEN 0 ELSE greatest(every_minutes, 1) END * interval '1 minute'
            WHERE id = :id
        """),
        {"id": due.to.id, "more": due.more > 0},
    )


def not_told(connection: Connection, due: Due, error: str) -> None:
    """Try again later: after a minute, doubled each time up to six hours; pause it after many failures in a row."""
    connection.execute(
        text("""
            UPDATE subscription SET failures = failures + 1, last_error = :error, active = failures + 1 < :most,
                next_at = clock_timestamp() + least(interval '6 hours', interval '1 minute' * power(2, failures))
            WHERE id = :id
        """),
        {"id": due.to.id, "error": error[:500], "most": GIVE_UP},
    )


def try_out(connection: Connection, subscription: UUID, event: dict[str, Any]) -> None:
    """Put a notice of a test into a subscription's queue, due at once."""
    connection.execute(
        text("INSERT INTO notice (subscription_id, event) VALUES (:id, CAST(:event AS jsonb))"),
        {"id": subscription, "event": json.dumps(event)},
    )
    connection.execute(
        text("UPDATE subscription SET next_at = clock_timestamp(), active = true WHERE id = :id"), {"id": subscription}
    )
