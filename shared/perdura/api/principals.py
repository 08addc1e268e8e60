"""Who asks, and what they may do: roles are sets of permissions, checked by name on every operation."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum

from perdura.settings import Settings


class Permission(StrEnum):
    """What an operation asks of its caller."""

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


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose identity was checked: `name` goes into the log, `means` says how it was proven.

    `means` is `token` (Authorization header), `session` (cookie: forms then need a CSRF token) or `nothing`.
    """

    name: str
    roles: frozenset[Role]
    means: str

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything that any of the roles may do."""
        return frozenset().union(*(PERMISSIONS[role] for role in self.roles))

    def may(self, permission: Permission) -> bool:
        """Whether the caller holds the permission."""
        return permission in self.permissions


ANONYMOUS = Principal(name="anonymous", roles=frozenset(), means="nothing")


def administrator(means: str) -> Principal:
    """The holder of the administrator's token."""
    return Principal(name="administrator", roles=frozenset({Role.ADMINISTRATOR}), means=means)


def is_admin_token(presented: str, settings: Settings) -> bool:
    """Whether this is the administrator's token; takes the same time wherever the first difference is."""
    if settings.admin_token is None:
        return False
    expected = settings.admin_token.get_secret_value().encode()
    return len(expected) > 0 and hmac.compare_digest(presented.encode("utf-8", "replace"), expected)
