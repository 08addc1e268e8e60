"""What claims of identity providers mean here."""

from __future__ import annotations

from typing import Any

import pytest

from perdura.accounts.claims import groups_in, groups_with, identity_of, roles_of
from perdura.accounts.principals import Role
from perdura.errors import Broken
from perdura.settings import Settings

MAPPING = """
    viewer=*
    archivist = /staff/digital archive
    administrator=admins
"""


@pytest.mark.parametrize(
    ("claims", "path", "groups"),
    [
        ({"groups": ["a", "b"]}, "groups", {"a", "b"}),
        ({"groups": "a"}, "groups", {"a"}),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", {"a"}),
        ({"https://example.org/groups": ["a"]}, "https://example.org/groups", {"a"}),
        ({"groups": [1, None, {"a": 1}, "b"]}, "groups", {"b"}),
        ({"groups": {"a": 1}}, "groups", set()),
        ({"groups": 7}, "groups.more", None),
        ({}, "groups", None),
    ],
)
def test_groups_are_found_where_the_provider_puts_them(
    claims: dict[str, Any], path: str, groups: set[str] | None
) -> None:
    assert groups_in(claims, path) == groups


@pytest.mark.parametrize(
    ("groups", "roles"),
    [
        (set(), {Role.VIEWER}),
        ({"admins"}, {Role.VIEWER, Role.ADMINISTRATOR}),
        ({"/staff/digital archive", "others"}, {Role.VIEWER, Role.ARCHIVIST}),
        ({"administrator", "Admins"}, {Role.VIEWER}),
    ],
)
def test_groups_give_the_roles_that_the_settings_say(groups: set[str], roles: set[Role]) -> None:
    assert roles_of(frozenset(groups), MAPPING) == roles


def test_it_is_known_which_groups_give_a_role() -> None:
    assert groups_with(Role.ADMINISTRATOR, MAPPING) == {"admins"}
    assert groups_with(Role.AUDITOR, MAPPING) == set()


def test_without_a_mapping_a_sign_in_gives_no_role() -> None:
    assert roles_of(frozenset({"admins", "*"}), "") == set()


@pytest.mark.parametrize("line", ["viewer", "emperor=admins", "=x"])
def test_a_wrong_mapping_is_the_operators_fault(line: str) -> None:
    with pytest.raises(Broken, match="PERDURA_OIDC_ROLES"):
        roles_of(frozenset(), line)


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Ada Lovelace", "preferred_username": "ada"}, "Ada Lovelace"),
        ({"name": "  ", "preferred_username": "ada"}, "ada"),
        ({"name": "A\x00d\u202ea", "email": "x"}, "Ada"),
        ({"client_id": "robot"}, "robot"),
        ({"name": 7}, "s-1"),
        ({"name": "x" * 900}, "x" * 200),
    ],
)
def test_people_are_called_by_the_best_name_there_is(claims: dict[str, Any], name: str) -> None:
    identity = identity_of({"iss": "https://id", "sub": "s-1", **claims}, Settings(), kind="person")  # type: ignore[call-arg]
    assert identity.called == name


@pytest.mark.parametrize("said", [False, "false", "False"])
def test_an_unverified_address_is_not_kept(said: Any) -> None:
    claims = {"iss": "https://id", "sub": "s", "email": "a@b"}
    assert identity_of(claims, Settings(), kind="person").email == "a@b"  # type: ignore[call-arg]
    assert identity_of({**claims, "email_verified": said}, Settings(), kind="person").email is None  # type: ignore[call-arg]


def test_what_a_token_leaves_out_is_not_taken_for_nothing() -> None:
    identity = identity_of({"iss": "https://id", "sub": "s", "azp": "robot"}, Settings(), kind="service")  # type: ignore[call-arg]
    assert (identity.name, identity.email, identity.groups) == (None, None, None)
    assert identity.called == "robot"
