"""`perdura tokens`: personal access tokens."""

from __future__ import annotations

from collections.abc import Sequence

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, moment, said, show


@click.group()
def tokens() -> None:
    """Personal access tokens: yours, or those of an account that you administer."""


@tokens.command("list")
@click.option("--user", help="Of this account, by its id; without it, your own.")
@as_json_option
@api.connected
def list_tokens(registry: Client, user: str | None, as_json: bool) -> None:
    """List tokens, the newest first; no secret is shown."""
    columns: list[Column] = [
        ("ID", "id"), ("SCOPES", "scopes"), ("EXPIRES", lambda row: moment(row["expires"])),
        ("REVOKED", lambda row: moment(row["revoked"])), ("USED", lambda row: moment(row["used"])), ("NAME", "name"),
    ]  # fmt: skip
    show(registry.get(f"/users/{user or 'me'}/tokens")["items"], columns, as_json=as_json)


@tokens.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, help="What it may do (read, deposit …); may be repeated."
)
@click.option("--days", type=click.IntRange(1, 3660), default=90, show_default=True, help="Days until it expires.")
@as_json_option
@api.connected
def create_token(registry: Client, name: str, scopes: Sequence[str], days: int, as_json: bool) -> None:
    """Make a token; its secret is printed this once, the rest goes to the error output."""
    made = registry.post("/users/me/tokens", {"name": name, "scopes": list(scopes), "days": days})
    click.echo(f"token {made['id']} until {moment(made['expires'])}", err=True)
    said(made["token"], made, as_json=as_json)


@tokens.command("revoke")
@click.argument("token_id")
@click.option("--user", help="Of this account, by its id; without it, your own.")
@as_json_option
@api.connected
def revoke_token(registry: Client, token_id: str, user: str | None, as_json: bool) -> None:
    """End a token at once."""
    revoked = registry.delete(f"/users/{user or 'me'}/tokens/{token_id}")
    said(f"token {token_id} is revoked", revoked, as_json=as_json)
