"""`perdura audit`, `settings`, `health` and `metrics`: how the registry is, and what was done there."""

from __future__ import annotations

from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, as_json_option, limit_option, moment, show


@click.command()
@click.option("--user", help="Only acts of this account, by its id.")
@click.option("--action", help="Only this operation: `retry_archive`, say.")
@click.option("--outcome", type=click.Choice(["done", "denied"]))
@click.option("--object", help="Only acts about the thing with this id.")
@click.option("--since", metavar="INSTANT", help="Only of then (2026-01-31T00:00:00Z) or later.")
@click.option("--until", metavar="INSTANT", help="Only of before.")
@limit_option(100)
@as_json_option
@api.connected
def audit(registry: Client, limit: int, as_json: bool, **which: Any) -> None:
    """Show the audit log, the newest entry first."""
    columns: list[Column] = [
        ("AT", lambda row: moment(row["at"])), ("WHO", "actor"), ("BY", "means"), ("OUTCOME", "outcome"),
        ("STATUS", "status"), ("ACT", "action"), ("OBJECTS", "objects"),
    ]  # fmt: skip
    show(registry.items("/audit", limit, **given(which)), columns, as_json=as_json)


@click.command()
@click.option("--changed", is_flag=True, help="Only those that are not as delivered.")
@as_json_option
@api.connected
def settings(registry: Client, changed: bool, as_json: bool) -> None:
    """Show the settings of the registry; no secret is shown."""
    listed = [row for row in registry.get("/settings")["items"] if not (changed and row["is_default"])]
    columns: list[Column] = [("NAME", "name"), ("VALUE", lambda row: "(secret)" if row["secret"] else row["value"])]
    show(listed, columns, as_json=as_json)


@click.command()
@as_json_option
@api.connected
def health(registry: Client, as_json: bool) -> None:
    """Ask the registry whether it can do its work. Exit status 1 or 2: it cannot, or does not answer."""
    found = registry.get("/health")
    show([found], [("STATUS", "status"), ("DATABASE", "database"), ("STORE", "store")], as_json=as_json)


@click.command()
@api.connected
def metrics(registry: Client) -> None:
    """Print what waits in the registry's queues, in the form that Prometheus reads."""
    with registry.download("/api/v1/metrics") as answer:
        click.echo(answer.read().decode(), nl=False)
