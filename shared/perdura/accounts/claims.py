"""What the claims of an identity provider mean here: who somebody is, their groups, and the roles that these give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perdura.accounts.directory import LONGEST_NAME, Identity
from perdura.accounts.principals import Role
from perdura.errors import Broken
from perdura.settings import Settings

_PERSONAL = ("name", "preferred_username", "email")
_CLIENT = ("client_id", "azp")
EVERYBODY = "*"
GROUPS_KEPT = 500


def identity_of(claims: Mapping[str, Any], settings: Settings, *, kind: str) -> Identity:
    """Who the claims speak of; `kind` is person or service. Raises Broken for a wrong PERDURA_OIDC_ROLES."""
    groups = groups_in(claims, settings.oidc_groups_claim)
    email = claims.get("email")
    return Identity(
        kind=kind,
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
        name=_name(claims, _PERSONAL),
        client=_name(claims, _CLIENT),
        email=email if isinstance(email, str) and str(claims.get("email_verified")).lower() != "false" else None,
        groups=groups,
        roles=roles_of(groups or frozenset(), settings.oidc_roles),
    )


def _name(claims: Mapping[str, Any], those: Sequence[str]) -> str | None:
    for claim in those:
        said = claims.get(claim)
        if isinstance(said, str) and (name := "".join(filter(str.isprintable, said)).strip()):
            return name[:LONGEST_NAME]
    return None


def groups_in(claims: Mapping[str, Any], path: str) -> frozenset[str] | None:
    """The groups that a claim lists, as an array or as one text; dots in `path` lead into objects.

    A claim whose own name has dots in it (a URL, say) is found as well. None when there is no such claim: many
    providers leave it out of the access tokens they give to programs.
    """
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        return None
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
