"""`perdura recall`: what is on tape, back on disk."""

from __future__ import annotations

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option, said


@click.command()
@click.argument("archive_id")
@click.option("--package", help="This version of the AIP, by its id; without it, that in use.")
@click.option("--file", help="Only this file, by its path in the AIP.")
@click.option("--drill", is_flag=True, help="Prove that it can be done; keep nothing.")
@as_json_option
@api.connected
def recall(
    registry: Client,
    archive_id: str,
    package: str | None,
    file: str | None,
    drill: bool,
    as_json: bool,
) -> None:
    """Bring the AIP of an archive back from tape."""
    asked = registry.recall(archive_id, package=package, file=file, drill=drill)
    said(f"step {asked['step']}", asked, as_json=as_json)
