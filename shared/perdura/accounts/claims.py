"""What the claims of an identity provider mean here: who somebody is, their groups, and the roles that these give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from perdura.accounts.directory import Identity
from perdura.accounts.principals import Role
from perdura.errors import Broken
from perdura.settings import Settings

EVERYBODY = "*"
LONGEST_NAME = 200
GROUPS_KEPT = 500


def identity_of(claims: Mapping[str, Any], settings: Settings, *, kind: str) -> Identity:
    """Who the claims speak of; `kind` is person or service. Raises Broken for a wrong PERDURA_OIDC_ROLES."""
    groups = groups_in(claims, settings.oidc_groups_claim)
    subject = str(claims["sub"])
    email = claims.get("email")
    return Identity(
        kind=kind,
        issuer=str(claims["iss"]),
        subject=subject,
        name=_name(claims, subject),
        email=email if isinstance(email, str) and claims.get("email_verified") is not False else None,
        groups=groups,
        roles=roles_of(groups, settings.oidc_roles),
    )


def _name(claims: Mapping[str, Any], subject: str) -> str:
    for claim in ("name", "preferred_username", "email", "client_id", "azp"):
        said = claims.get(claim)
        if isinstance(said, str) and (name := "".join(filter(str.isprintable, said)).strip()):
            return name[:LONGEST_NAME]
    return subject[:LONGEST_NAME]


def groups_in(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The groups that a claim lists, as an array or as one text; dots in `path` lead into objects.

    A claim whose own name has dots in it (a URL, say) is found as well.
    """
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return frozenset([group for group in listed if isinstance(group, str)][:GROUPS_KEPT])


def roles_of(groups: frozenset[str], mapping: str) -> frozenset[Role]:
    """The roles that groups give by the lines `role=group` of a mapping; the group `*` is everybody."""
    held = groups | {EVERYBODY}
    return frozenset(role for role, group in _lines(mapping) if group in held)


def groups_with(role: Role, mapping: str) -> frozenset[str]:
    """The groups that give a role."""
    return frozenset(group for given, group in _lines(mapping) if given is role)


def _lines(mapping: str) -> Iterator[tuple[Role, str]]:
    known = {role.value for role in Role}
    for line in filter(None, map(str.strip, mapping.splitlines())):
        role, separator, group = (part.strip() for part in line.partition("="))
        if not separator or role not in known:
            raise Broken(f"PERDURA_OIDC_ROLES: {line[:80]!r} is no line of the form role=group.")
        yield Role(role), group
