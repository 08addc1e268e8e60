"""Users, tokens, roles, grants and the audit log as they are sent."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from perdura.accounts.principals import Permission, Role
from perdura.api.models.base import Answer, Moment, Page, PlainText, Request, Search, wrong
from perdura.api.naming import ArchiveId, CollectionId, PlainId

Name = Annotated[PlainText, Field(min_length=1, max_length=100)]
GroupName = Annotated[PlainText, Field(min_length=1, max_length=200)]


class MeAnswer(Answer):
    """Who you are here, and what you may do."""

    id: UUID
    name: str
    means: str = Field(description="How you proved it: token, service or session.")
    roles: list[Role]
    groups: list[str]
    permissions: list[Permission] = Field(description="What your roles allow, as far as the scopes of the token reach.")
    links: dict[str, str]


class RoleAnswer(Answer):
    """A role and what it allows."""

    name: Role
    permissions: list[Permission]


class RoleList(Answer):
    """All roles."""

    items: list[RoleAnswer]


class UserAnswer(Answer):
    """An account: a person, or a program (`service`), or the holder of the administrator's token (`local`)."""

    id: UUID
    kind: Literal["person", "service", "local"]
    name: str
    email: str | None
    issuer: str
    subject: str
    roles: list[str] = Field(description="Roles given here.")
    claimed_roles: list[str] = Field(description="Roles that follow from the groups at the identity provider.")
    groups: list[str]
    disabled: datetime | None
    created: datetime
    seen: datetime | None
    links: dict[str, str]


class UserPage(Answer):
    """A page of accounts."""

    items: list[UserAnswer]
    next: str | None


class UserQuery(Page):
    """Which accounts are wanted."""

    q: Search | None = Field(None, description="Part of a name, e-mail address or subject.")


class UserChange(Request):
    """What is to be changed of an account; what is absent stays."""

    roles: list[Role] | None = Field(None, max_length=10, description="Roles given here, all of them.")
    disabled: bool | None = Field(None, description="Whether the account is shut.")


class TokenRequest(Request):
    """A token to be made."""

    name: Name = Field(description="What it is for.")
    scopes: list[Permission] = Field(min_length=1, max_length=20, description="What it may do at most.")
    days: int = Field(90, ge=1, le=3660, description="Days until it expires.")


class TokenAnswer(Answer):
    """A token, without its secret."""

    id: UUID
    name: str
    scopes: list[str]
    created: datetime
    expires: datetime
    revoked: datetime | None
    used: datetime | None = Field(description="Last use, give or take a minute.")
    used_from: str | None = Field(description="Address of the last use.")


class TokenCreated(TokenAnswer):
    """A new token; nobody can learn its secret later."""

    token: str = Field(description="Send it as `Authorization: Bearer <token>`.")


class TokenList(Answer):
    """All tokens of an account, the newest first."""

    items: list[TokenAnswer]


class GrantRequest(Request):
    """The right to see a restricted Archive, or a Collection and what is in it: for one account or one group."""

    user: PlainId | None = None
    group: GroupName | None = None
    archive: ArchiveId | None = None
    collection: CollectionId | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise wrong("give either `user` or `group`", "user", "group")
        if (self.archive is None) == (self.collection is None):
            raise wrong("give either `archive` or `collection`", "archive", "collection")
        return self


class GrantAnswer(Answer):
    """A grant."""

    id: UUID
    user: UUID | None
    group: str | None
    archive: UUID | None
    collection: UUID | None
    given_by: str
    own: bool = Field(description="Whether it is that of who made the Archive, which nobody gave.")
    created: datetime


class GrantPage(Answer):
    """A page of grants."""

    items: list[GrantAnswer]
    next: str | None


class GrantQuery(Page):
    """Which grants are wanted."""

    user: PlainId | None = None
    group: GroupName | None = None
    archive: ArchiveId | None = None
    collection: CollectionId | None = None
    own: bool | None = Field(None, description="Only those of who made an Archive (true), or only those given (false).")


class AuditAnswer(Answer):
    """One act that was done, or was denied."""

    sequence: int
    at: datetime
    user: UUID | None
    actor: str
    means: str
    action: str
    outcome: Literal["done", "denied"]
    method: str
    path: str
    status: int
    objects: list[str]
    detail: dict[str, Any]
    address: str | None


class AuditPage(Answer):
    """A page of the audit log, the newest entry first."""

    items: list[AuditAnswer]
    next: str | None


class AuditQuery(Page):
    """Which entries are wanted; all filters have to hold."""

    user: PlainId | None = None
    action: PlainText | None = Field(None, max_length=100, description="Name of an operation: `retry_archive`.")
    outcome: Literal["done", "denied"] | None = None
    object: PlainText | None = Field(None, max_length=100, description="Id of a thing that the act was about.")
    since: Moment | None = None
    until: Moment | None = None


class SettingAnswer(Answer):
    """One setting of this process. The value of a secret is never shown."""

    name: str
    value: str | None
    secret: bool
    is_default: bool
    description: str


class SettingList(Answer):
    """All settings."""

    items: list[SettingAnswer]
