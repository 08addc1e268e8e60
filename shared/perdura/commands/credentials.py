"""`perdura credential`: what sources ask harvests for."""

from __future__ import annotations

import sys

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, moment, said, show


@click.group()
def credential() -> None:
    """Keep credentials for sources; harvests use them, nobody can read them."""


@credential.command("set")
@click.argument("source")
@as_json_option
@api.connected
def put_credential(registry: Client, source: str, as_json: bool) -> None:
    """Keep a credential for SOURCE. It is asked for, or read from standard input: never an argument."""
    asked = sys.stdin.isatty()
    secret: str = click.prompt("Credential", hide_input=True) if asked else sys.stdin.readline().strip()
    said(f"kept for {source}", registry.put(f"/credentials/{source}", {"secret": secret}), as_json=as_json)


@credential.command("list")
@as_json_option
@api.connected
def list_credentials(registry: Client, as_json: bool) -> None:
    """List the sources for which you keep a credential."""
    columns: list[Column] = [
        ("SOURCE", "source"), ("SET", lambda row: moment(row["updated"])), ("USED", lambda row: moment(row["used"])),
    ]  # fmt: skip
    show(registry.get("/credentials")["items"], columns, as_json=as_json)


@credential.command("remove")
@click.argument("source")
@api.connected
def remove_credential(registry: Client, source: str) -> None:
    """Forget the credential for SOURCE."""
    registry.delete(f"/credentials/{source}")
    click.echo(f"forgotten for {source}")


@credential.command("renew")
@as_json_option
@api.connected
def renew_credentials(registry: Client, as_json: bool) -> None:
    """Encrypt all credentials with the newest key (PERDURA_CREDENTIAL_KEYS), so that older keys can go."""
    renewed = registry.post("/credentials/renewal")
    lost = f"; {renewed['unreadable']} cannot be read, as their key is gone" if renewed["unreadable"] else ""
    said(f"{renewed['credentials']} encrypted anew{lost}", renewed, as_json=as_json)
