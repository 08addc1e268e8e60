"""`perdura users`: accounts and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, as_json_option, limit_option, moment, said, show, tell


@click.group()
def users() -> None:
    """Accounts and what they may do."""


@users.command("me")
@as_json_option
@api.connected
def show_me(registry: Client, as_json: bool) -> None:
    """Show who you are to the registry, and what you may do."""
    tell(registry.get("/users/me"), as_json=as_json)


@users.command("roles")
@as_json_option
@api.connected
def list_roles(registry: Client, as_json: bool) -> None:
    """List the roles and what each allows."""
    show(registry.get("/roles")["items"], [("ROLE", "name"), ("PERMISSIONS", "permissions")], as_json=as_json)


@users.command("list")
@click.option("-q", "--query", "q", help="Part of a name, mail address or subject.")
@limit_option(100)
@as_json_option
@api.connected
def list_users(registry: Client, q: str | None, limit: int, as_json: bool) -> None:
    """List accounts."""
    columns: list[Column] = [
        ("ID", "id"), ("KIND", "kind"), ("ROLES", lambda row: sorted({*row["roles"], *row["claimed_roles"]})),
        ("SEEN", lambda row: moment(row["seen"])), ("SHUT", lambda row: moment(row["disabled"])), ("NAME", "name"),
    ]  # fmt: skip
    show(registry.items("/users", limit, **given({"q": q})), columns, as_json=as_json)


@users.command("show")
@click.argument("user_id")
@as_json_option
@api.connected
def show_user(registry: Client, user_id: str, as_json: bool) -> None:
    """Show one account."""
    tell(registry.get(f"/users/{user_id}"), as_json=as_json)


@users.command("change")
@click.argument("user_id")
@click.option("--role", "roles", multiple=True, help="A role to be given here, of all; may be repeated.")
@click.option("--no-roles", is_flag=True, help="Take all roles back that were given here.")
@click.option("--disable/--enable", "disabled", default=None, help="Shut the account, or open it again.")
@as_json_option
@api.connected
def change_user(
    registry: Client, user_id: str, roles: Sequence[str], no_roles: bool, disabled: bool | None, as_json: bool
) -> None:
    """Give roles to an account, all of them at once; shut it, or open it again."""
    change: dict[str, Any] = {}
    if roles or no_roles:
        change["roles"] = list(roles)
    if disabled is not None:
        change["disabled"] = disabled
    if not change or (roles and no_roles):
        raise click.UsageError("say what is to change: --role, --no-roles, --disable or --enable")
    changed = registry.patch(f"/users/{user_id}", change)
    shut = " and is shut" if changed["disabled"] else ""
    line = f"{changed['name']} has {', '.join(changed['roles']) or 'no role'} here{shut}"
    said(line, changed, as_json=as_json)
