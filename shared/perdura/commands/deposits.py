"""`perdura deposits`: what was announced and may still be on its way."""

from __future__ import annotations

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, limit_option, moment, said, show, size, tell


@click.group()
def deposits() -> None:
    """Deposits that were begun: list them, show one, give one up."""


@deposits.command("list")
@click.option("--waiting", is_flag=True, help="Only those whose bytes are still waited for.")
@limit_option(50)
@as_json_option
@api.connected
def list_deposits(registry: Client, waiting: bool, limit: int, as_json: bool) -> None:
    """List your deposits, or all when you may operate, the newest first."""
    columns: list[Column] = [
        ("ID", "id"), ("STATE", "state"), ("CREATED", lambda row: moment(row["created"])),
        ("SIZE", lambda row: size(row["size"])), ("FILE", "filename"), ("ARCHIVE", "archive"),
    ]  # fmt: skip
    found = registry.items("/deposits", limit, **({"waiting": "true"} if waiting else {}))
    show(found, columns, as_json=as_json)


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
