"""Sources, searches in them, and the credentials that a person keeps for them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, SecretStr

from perdura.api.models.base import Answer, PlainText, Request


class SourceAnswer(Answer):
    """One source that harvests know."""

    id: str
    name: str
    protocol: str
    url: str | None
    searchable: bool
    listed_by: list[str] = Field(description="Ways in which a schedule can ask what changed.")
    takes_credential: bool
    has_credential: bool = Field(description="Whether the caller keeps one.")


class SourceList(Answer):
    """All sources."""

    items: list[SourceAnswer]


class SearchQuery(Request):
    """What to look for in a source."""

    q: PlainText = Field("", max_length=2000)
    page: int = Field(1, ge=1, le=10_000)
    size: int = Field(20, ge=1, le=100)
    sort: PlainText | None = Field(None, max_length=100)


class HitAnswer(Answer):
    """One record that was found."""

    source: str
    recid: str
    title: str
    url: str
    creators: list[str]
    updated: str | None
    status: str | None
    bytes: int | None


class HitPage(Answer):
    """One page of what a source found."""

    total: int
    page: int
    items: list[HitAnswer]


class CredentialRequest(Request):
    """A token or session cookie; it is kept encrypted and never given back."""

    secret: SecretStr = Field(min_length=1, max_length=8192)


class CredentialAnswer(Answer):
    """What may be told of a kept credential."""

    source: str
    created: datetime
    updated: datetime
    used: datetime | None


class CredentialList(Answer):
    """The caller's credentials."""

    items: list[CredentialAnswer]


class Renewed(Answer):
    """How many credentials were encrypted anew, and how many nobody can read, as their key is gone."""

    credentials: int
    unreadable: int
