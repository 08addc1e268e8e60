"""Tables of accounts. Secrets are kept as SHA-256 of 256 random bits: nothing here lets anybody in."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    DateTime,
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


def _created() -> Mapped[datetime]:
    return mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())


def _moment() -> Mapped[datetime | None]:
    return mapped_column(DateTime(timezone=True))


def _texts() -> Mapped[list[str]]:
    return mapped_column(ARRAY(Text), server_default=text("'{}'"))


class Account(Base):
    """A person or a program, as their identity provider names them: unique (issuer, subject)."""

    __tablename__ = "account"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    roles: Mapped[list[str]] = _texts()
    """Roles given here, by an administrator."""
    claimed_roles: Mapped[list[str]] = _texts()
    """Roles that follow from what the identity provider said last."""
    groups: Mapped[list[str]] = _texts()
    disabled_at: Mapped[datetime | None] = _moment()
    created_at: Mapped[datetime] = _created()
    seen_at: Mapped[datetime | None] = _moment()
    __table_args__ = (
        UniqueConstraint("issuer", "subject"),
        CheckConstraint("kind IN ('person', 'service', 'local')", name="kind"),
        Index(None, "created_at", "id"),
    )


class SignIn(Base):
    """A sign-in that is under way at the identity provider; used once, within minutes."""

    __tablename__ = "sign_in"
    state_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    browser_hash: Mapped[bytes] = mapped_column(LargeBinary)
    nonce: Mapped[str] = mapped_column(Text)
    verifier: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index(None, "created_at"),)


class BrowserSession(Base):
    """A signed-in browser. The cookie's secret is replaced while it is used: `pending` waits to be seen once."""

    __tablename__ = "browser_session"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id"), index=True)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    pending_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    csrf: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    seen_at: Mapped[datetime] = _created()
    rotated_at: Mapped[datetime] = _created()
    """When `secret_hash` became the secret."""
    offered_at: Mapped[datetime | None] = _moment()
    """When `pending_hash` was last sent."""
    __table_args__ = (Index(None, "seen_at"),)


class Token(Base):
    """A personal access token."""

    __tablename__ = "token"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("account.id"))
    name: Mapped[str] = mapped_column(Text)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = _created()
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = _moment()
    used_at: Mapped[datetime | None] = _moment()
    used_from: Mapped[str | None] = mapped_column(Text)
    made_with: Mapped[UUID | None] = mapped_column(ForeignKey("token.id"))
    """The token that it was asked for with; it ends with that one."""
    __table_args__ = (
        Index(None, "account_id", "created_at"),
        Index("ix_token_made_with", "made_with", postgresql_where=text("made_with IS NOT NULL")),
    )


class Grant(Base):
    """The right of an account or a group to see one restricted Archive, or one Collection and what is in it."""

    __tablename__ = "access_grant"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("account.id"))
    group_name: Mapped[str | None] = mapped_column(Text)
    archive_id: Mapped[UUID | None] = mapped_column(ForeignKey("archive.id"))
    collection_id: Mapped[UUID | None] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"))
    given_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = _created()
    restricted: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether its Archive is restricted now; kept by the database."""
    own: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it is that of who made the Archive, which nobody gave."""
    __table_args__ = (
        CheckConstraint("(account_id IS NULL) <> (group_name IS NULL)", name="holder"),
        CheckConstraint("(archive_id IS NULL) <> (collection_id IS NULL)", name="object"),
        UniqueConstraint(
            "account_id",
            "group_name",
            "archive_id",
            "collection_id",
            name="uq_access_grant",
            postgresql_nulls_not_distinct=True,
        ),
        Index(None, "account_id"),
        Index(None, "group_name"),
        Index(None, "archive_id"),
        Index(None, "collection_id"),
        Index("ix_access_grant_account_restricted", "account_id", "archive_id", postgresql_where=text("restricted")),
        Index("ix_access_grant_group_restricted", "group_name", "archive_id", postgresql_where=text("restricted")),
        Index(
            "ix_access_grant_account_collection",
            "account_id",
            "collection_id",
            postgresql_where=text("collection_id IS NOT NULL"),
        ),
        Index(
            "ix_access_grant_group_collection",
            "group_name",
            "collection_id",
            postgresql_where=text("collection_id IS NOT NULL"),
        ),
        Index("ix_access_grant_newest", "created_at", "id"),
        Index("ix_access_grant_given", "created_at", "id", postgresql_where=text("NOT own")),
    )


class AuditEntry(Base):
    """A changing act that was done, or an act that was denied. Rows are only ever added."""

    __tablename__ = "audit_entry"
    sequence: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = _created()
    account_id: Mapped[UUID | None] = mapped_column()
    actor: Mapped[str] = mapped_column(Text)
    means: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    method: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    status: Mapped[int] = mapped_column(Integer)
    objects: Mapped[list[str]] = _texts()
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    address: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (
        CheckConstraint("outcome IN ('done', 'denied')", name="outcome"),
        Index(None, "account_id", "sequence"),
        Index(None, "action", "sequence"),
        Index(None, "outcome", "sequence"),
        Index(None, "objects", postgresql_using="gin"),
    )


class IdempotencyKey(Base):
    """A POST that was answered, for whoever sends it again with the same key."""

    __tablename__ = "idempotency_key"
    caller: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None] = mapped_column(Integer)
    media_type: Mapped[str | None] = mapped_column(Text)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    replayable: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    created_at: Mapped[datetime] = _created()
    __table_args__ = (PrimaryKeyConstraint("caller", "key"), Index(None, "created_at"))
