"""`perdura check`: the copies of an archive, read again and compared."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from perdura.client import Client
from perdura.commands import api

OVER = frozenset({"completed", "completed_with_warnings", "failed", "blocked", "cancelled"})


@click.command()
@click.argument("archive_id")
@click.option("--package", help="This version of the AIP, by its id; without it, that in use.")
@click.option(
    "--copy", "copies", multiple=True, type=click.Choice(["object-store", "tape"]), help="Only this copy; repeatable."
)
@click.option("--watch", is_flag=True, help="Stay until all are checked.")
@api.connected
def check(registry: Client, archive_id: str, package: str | None, copies: Sequence[str], watch: bool) -> None:
    """Read the copies of an archive again and compare every digest.

    With --watch the exit status is 0 when all are what was preserved, 1 when one is not.
    """
    asked = registry.check(archive_id, package=package, copies=copies)
    for each in asked:
        click.echo(f"step {each['step']}: copy of {each['package']} at {each['location']}")
    if watch and not _sound(registry, archive_id, {each["step"]: each["location"] for each in asked}):
        raise click.exceptions.Exit(1)


def _sound(registry: Client, archive: str, asked: dict[str, str]) -> bool:
    """Whether all copies are as they should be, once that is known."""
    while True:
        steps = [step for step in registry.steps(archive) if step["id"] in asked]
        if all(step["state"] in OVER for step in steps):
            break
        time.sleep(1)
    for step in steps:
        error = f": {step['error']['message']}" if step["error"] else ""
        click.echo(f"{asked[step['id']]}: {step['state']}{error}")
    return all(step["state"].startswith("completed") for step in steps)
