"""`perdura stats`: the installation in numbers."""

from __future__ import annotations

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, show, size, tell


@click.command()
@click.option("--days", default=90, show_default=True, help="The period.")
@as_json_option
@api.connected
def stats(registry: Client, days: int, as_json: bool) -> None:
    """What the installation holds and does, in numbers."""
    found = registry.statistics(days)
    if as_json:
        tell(found, as_json=True)
        return
    click.echo(f"{found['archives']} archives, {size(found['bytes'])}")
    for state, number in found["states"].items():
        click.echo(f"  {state:<24} {number}")
    click.echo(f"\n{found['since']} to {found['until']}")
    columns: list[Column] = [
        ("STEP", "name"), ("RUNS", "runs"), ("FAILED", "failed"),
        ("MEAN", lambda row: f"{row['mean_seconds']} s"),
        ("95 % WITHIN", lambda row: f"{row['slowest_twentieth_seconds']} s"),
    ]  # fmt: skip
    show(found["steps"], columns, as_json=False)
