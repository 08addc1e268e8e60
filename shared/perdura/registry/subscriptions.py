"""Subscriptions: who wants to hear of what, and what is still to be told.

A notice is written by a trigger, in the transaction of the CloudEvent that it is about: none is lost, none is told
twice because a relay died. Everything that is due for one subscription goes out as one message: many failures are one
digest, not a flood.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
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

from perdura.errors import Broken
from perdura.metadata import Base
from perdura.registry import credentials
from perdura.settings import Settings

KINDS: dict[str, str] = {
    "org.perdura.step.failed.v1": "failed",
    "org.perdura.sip.rejected.v1": "rejected",
    "org.perdura.archive.completed.v1": "completed",
    "org.perdura.fixity.failed.v1": "fixity-failed",
}
"""CloudEvent type → what a subscription calls it."""

AT_ONCE = 500
"""Notices of one message at most; the rest is counted, and told by the next."""

GIVE_UP = 20
"""Failures in a row after which a subscription is paused."""


class Subscription(Base):
    """What one account wants to hear, how, and how often at most."""

    __tablename__ = "subscription"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(index=True)
    owner: Mapped[str] = mapped_column(Text)
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
class Due:
    """A subscription with what it is to be told now; `more` notices wait behind them."""

    id: UUID
    account: UUID | None
    owner: str
    way: str
    address: str
    secret: str
    notices: Sequence[tuple[int, UUID | None, dict[str, Any]]]
    titles: dict[UUID, str]
    more: int


_SEALED = "sealed"


def sealed(settings: Settings, subscription: UUID, secret: str) -> str:
    """A secret as it is kept: encrypted with the newest of the keys that credentials are kept with.

    Raises Broken when there is none.
    """
    key = credentials.keys(settings)[0]
    kept = credentials.encrypted(secret, key, subscription, _SEALED)
    return ":".join((_SEALED, credentials.key_id(key), base64.b64encode(kept).decode()))


def opened(settings: Settings, subscription: UUID, kept: str) -> str:
    """The secret that was kept; one from before secrets were sealed is as it is. Raises Broken if it is unreadable."""
    mark, _, rest = kept.partition(":")
    if mark != _SEALED:
        return kept
    key_id, _, ciphertext = rest.partition(":")
    key = credentials.key_of(settings, key_id)
    try:
        return credentials.decrypted(base64.b64decode(ciphertext), key, subscription, _SEALED)
    except ValueError as error:
        raise Broken("The secret of a subscription cannot be read.", code="credential-unreadable") from error


def seal_anew(connection: Connection, settings: Settings, limit: int = 1000) -> int:
    """Seal with the newest key what another one sealed, or none; returns how many were. Raises Broken.

    What cannot be read stays as it is: telling its subscription fails, and says why.
    """
    older = [credentials.key_id(key) for key in credentials.keys(settings)[1:]]
    rows = connection.execute(
        text("""
            SELECT id, secret FROM subscription
            WHERE secret <> '' AND (NOT starts_with(secret, :mark) OR split_part(secret, ':', 2) = ANY(:older))
            ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
        """),
        {"mark": f"{_SEALED}:", "older": older, "limit": limit},
    ).all()
    moved = 0
    for row in rows:
        try:
            secret = sealed(settings, row.id, opened(settings, row.id, row.secret))
        except Broken:
            continue
        connection.execute(
            text("UPDATE subscription SET secret = :secret WHERE id = :id"), {"id": row.id, "secret": secret}
        )
        moved += 1
    return moved


_DUE = text("""
    SELECT id, account_id, owner, way, address, secret FROM subscription
    WHERE active AND next_at <= clock_timestamp()
        AND EXISTS (SELECT FROM notice WHERE notice.subscription_id = subscription.id)
    ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED
""")


def due(connection: Connection) -> Due | None:
    """Lock and return one subscription with its notices; None when nothing is to be told."""
    row = connection.execute(_DUE).one_or_none()
    if row is None:
        return None
    notices = connection.execute(
        text("SELECT id, archive_id, event FROM notice WHERE subscription_id = :id ORDER BY id LIMIT :limit"),
        {"id": row.id, "limit": AT_ONCE},
    ).all()
    waiting: int = connection.execute(
        text("SELECT count(*) FROM notice WHERE subscription_id = :id"), {"id": row.id}
    ).scalar_one()
    titles = connection.execute(
        text("SELECT id, title FROM archive WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [notice.archive_id for notice in notices if notice.archive_id is not None]},
    )
    return Due(
        row.id, row.account_id, row.owner, row.way, row.address, row.secret,
        [(notice.id, notice.archive_id, notice.event) for notice in notices],
        {title.id: title.title for title in titles}, waiting - len(notices),
    )  # fmt: skip


def told(connection: Connection, due: Due) -> None:
    """Forget what was told, and keep quiet for as long as the subscription wants."""
    connection.execute(
        text("DELETE FROM notice WHERE subscription_id = :id AND id <= :last"),
        {"id": due.id, "last": due.notices[-1][0]},
    )
    connection.execute(
        text("""
            UPDATE subscription SET failures = 0, last_error = NULL, sent_at = clock_timestamp(),
                next_at = clock_timestamp() + greatest(every_minutes, 1) * interval '1 minute' WHERE id = :id
        """),
        {"id": due.id},
    )


def not_told(connection: Connection, due: Due, error: str) -> None:
    """Try again later: after a minute, doubled each time up to six hours; pause it after many failures in a row."""
    connection.execute(
        text("""
            UPDATE subscription SET failures = failures + 1, last_error = :error, active = failures + 1 < :most,
                next_at = clock_timestamp() + least(interval '6 hours', interval '1 minute' * power(2, failures))
            WHERE id = :id
        """),
        {"id": due.id, "error": error[:500], "most": GIVE_UP},
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
