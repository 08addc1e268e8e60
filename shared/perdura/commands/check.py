"""`perdura check`: the copies of an archive, read again and compared."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option

OVER = frozenset({"completed", "completed_with_warnings", "failed", "blocked", "cancelled"})


@click.command()
@click.argument("archive_id")
@click.option("--package", help="This version of the AIP, by its id; without it, that in use.")
@click.option(
    "--copy", "copies", multiple=True, type=click.Choice(["object-store", "tape"]), help="Only this copy; repeatable."
)
@click.option("--watch", is_flag=True, help="Stay until all are checked.")
@as_json_option
@api.connected
def check(
    registry: Client, archive_id: str, package: str | None, copies: Sequence[str], watch: bool, as_json: bool
) -> None:
    """Read the copies of an archive again and compare every digest.

    With --watch the exit status is 0 when all are what was preserved, 1 when one is not.
    """
    asked = registry.check(archive_id, package=package, copies=copies)
    if not (watch and as_json):
        for each in asked:
            line = f"step {each['step']}: copy of {each['package']} at {each['location']}"
            click.echo(json.dumps(each) if as_json else line)
    if watch:
        found = _looked_at(registry, archive_id, {each["step"] for each in asked})
        at = {each["step"]: each["location"] for each in asked}
        for step in found:
            error = f": {step['error']['message']}" if step["error"] else ""
            click.echo(json.dumps(step) if as_json else f"{at[step['id']]}: {step['state']}{error}")
        if not all(step["state"].startswith("completed") for step in found):
            raise click.exceptions.Exit(1)


def _looked_at(registry: Client, archive: str, asked: set[str]) -> list[dict[str, Any]]:
    """The checks, once they are over."""
    while True:
        steps = [step for step in registry.steps(archive) if step["id"] in asked]
        if all(step["state"] in OVER for step in steps):
            return steps
        time.sleep(1)
