"""`perdura deposits`: what was announced and may still be on its way."""

from __future__ import annotations

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option, said, tell


@click.group()
def deposits() -> None:
    """Deposits that were begun: show one, give one up."""


@deposits.command("show")
@click.argument("deposit_id")
@as_json_option
@api.connected
def show_deposit(registry: Client, deposit_id: str, as_json: bool) -> None:
    """Show a deposit and what has become of it."""
    tell(registry.get(f"/deposits/{deposit_id}"), as_json=as_json)


@deposits.command("cancel")
@click.argument("deposit_id")
@as_json_option
@api.connected
def cancel_deposit(registry: Client, deposit_id: str, as_json: bool) -> None:
    """Give up a deposit that is not complete; parts that have arrived are dropped."""
    cancelled = registry.post(f"/deposits/{deposit_id}/cancel")
    said(f"deposit {deposit_id} is {cancelled['state']}", cancelled, as_json=as_json)
