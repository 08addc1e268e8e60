"""`perdura stats`: the installation in numbers."""

from __future__ import annotations

import json
from pathlib import Path

import click

from perdura.commands import api
from perdura.commands.tables import show, size


@click.command()
@click.option("--days", default=90, show_default=True, help="The period.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@api.options
@click.pass_obj
def stats(root: Path, days: int, as_json: bool, url: str | None, token: str | None) -> None:
    """What the installation holds and does, in numbers."""
    found = api.connect(root, url, token).statistics(days)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{found['archives']} archives, {size(found['bytes'])}")
    for state, number in found["states"].items():
        click.echo(f"  {state:<24} {number}")
    click.echo(f"\n{found['since']} to {found['until']}")
    columns = [
        ("STEP", lambda row: row["name"]), ("RUNS", lambda row: row["runs"]), ("FAILED", lambda row: row["failed"]),
        ("MEAN", lambda row: f"{row['mean_seconds']} s"),
        ("95 % WITHIN", lambda row: f"{row['slowest_twentieth_seconds']} s"),
    ]  # fmt: skip
    show(found["steps"], columns, as_json=False)
