"""Who asks, and what they may do: roles are sets of permissions, checked by name on every operation."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache
from uuid import UUID

from perdura.settings import Settings


class Permission(StrEnum):
    """What an operation asks of its caller; also the scopes of a token."""

    SELF = "self"
    """See and manage one's own account; everybody with one holds it. A token without it can make no other token."""
    READ = "read"
    READ_RESTRICTED = "read-restricted"
    DEPOSIT = "deposit"
    OPERATE = "operate"
    AUDIT = "audit"
    ADMINISTER = "administer"


class Role(StrEnum):
    """What a person or a program is to this installation."""

    VIEWER = "viewer"
    DEPOSITOR = "depositor"
    ARCHIVIST = "archivist"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.READ}),
    Role.DEPOSITOR: frozenset({Permission.READ, Permission.DEPOSIT}),
    Role.ARCHIVIST: frozenset({Permission.READ, Permission.READ_RESTRICTED, Permission.DEPOSIT, Permission.OPERATE}),
    Role.AUDITOR: frozenset({Permission.READ, Permission.READ_RESTRICTED, Permission.AUDIT}),
    Role.ADMINISTRATOR: frozenset(Permission),
}

LOCAL_ADMINISTRATOR = UUID("01900000-0000-7000-8000-000000000001")
"""Account of whoever holds the administrator's token; it is there from the first migration of accounts on."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose identity was checked: `name` goes into the log, `means` says how it was proven.

    `means` is `token` (Authorization header), `service` (a JWT of the identity provider), `session` (cookie: forms
    then need a CSRF token) or `nothing`. `account` is None for a stranger. Object rights may be held by the account or
    by one of its `groups`. `scopes` narrow what the roles allow; None leaves it as it is. A personal `token` that was
    shown is good until `expires`.
    """

    name: str
    roles: frozenset[Role]
    means: str
    account: UUID | None = None
    groups: frozenset[str] = frozenset()
    scopes: frozenset[Permission] | None = None
    token: UUID | None = None
    expires: datetime | None = None

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything that any of the roles may do, as far as the scopes of a token reach."""
        return _permissions(self.roles, self.account is not None, self.scopes)

    @property
    def told_scopes(self) -> list[str] | None:
        """The scopes by name, as they are kept with what is done later for the caller."""
        return None if self.scopes is None else sorted(self.scopes)

    def may(self, permission: Permission) -> bool:
        """Whether the caller holds the permission."""
        return permission in self.permissions


@lru_cache(maxsize=256)
def _permissions(roles: frozenset[Role], known: bool, scopes: frozenset[Permission] | None) -> frozenset[Permission]:
    held: frozenset[Permission] = frozenset().union(*(PERMISSIONS[role] for role in roles))
    if known:
        held |= {Permission.SELF}
    return held if scopes is None else held & scopes


ANONYMOUS = Principal(name="anonymous", roles=frozenset(), means="nothing")


@cache
def administrator(means: str) -> Principal:
    """The holder of the administrator's token."""
    return Principal(
        name="administrator", roles=frozenset({Role.ADMINISTRATOR}), means=means, account=LOCAL_ADMINISTRATOR
    )


def local_sign_in(settings: Settings) -> bool:
    """Whether the administrator's token is good for anything: only until an identity provider is configured."""
    return bool(settings.admin_token and settings.admin_token.get_secret_value()) and not settings.oidc_issuer


def is_admin_token(presented: str, settings: Settings) -> bool:
    """Whether this is the administrator's token; takes the same time wherever the first difference is."""
    if settings.admin_token is None or not local_sign_in(settings):
        return False
    expected = settings.admin_token.get_secret_value().encode()
    return hmac.compare_digest(presented.encode("utf-8", "replace"), expected)
