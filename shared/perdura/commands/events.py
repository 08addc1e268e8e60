"""`perdura events`: the PREMIS events of an archive, or of the whole log."""

from __future__ import annotations

import json
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import as_json_option, limit_option, plain


@click.command()
@click.argument("archive_id", required=False)
@click.option("--premis", is_flag=True, help="One PREMIS 3.0 document of all events of ARCHIVE_ID.")
@click.option("--type", help="Of the whole log: exactly this type.")
@click.option("--outcome", help="Of the whole log: exactly this outcome.")
@click.option("--since", metavar="DAY", help="Of the whole log: of this day (2026-01-31, UTC) or later.")
@click.option("--until", metavar="DAY", help="Of the whole log: of this day (UTC) or before.")
@click.option("--object", help="Of the whole log: which name this object.")
@click.option("--agent", help="Of the whole log: which name this agent.")
@limit_option(1000)
@as_json_option
@api.connected
def events(registry: Client, /, archive_id: str | None, premis: bool, limit: int, as_json: bool, **wanted: Any) -> None:
    """Show the PREMIS events of an archive, the oldest first; without one search the whole log, the latest first."""
    search = given(wanted)
    if archive_id is not None and search:
        raise click.UsageError("either ARCHIVE_ID, or a search of the whole log")
    if premis:
        if archive_id is None:
            raise click.UsageError("--premis needs ARCHIVE_ID")
        with registry.download(f"/api/v1/archives/{archive_id}/events", format="premis") as answer:
            click.echo(answer.read().decode())
        return
    found = registry.events(archive_id, limit) if archive_id else registry.items("/events", limit, **search)
    for event in found:
        click.echo(json.dumps(event) if as_json else event_line(event))


def event_line(event: dict[str, Any]) -> str:
    """A PREMIS event in one line: when, what, with which outcome."""
    outcomes = ", ".join(outcome["outcome"] for outcome in event["outcomes"])
    line = f"{event['at'][:19]}  {event['type']:<32} {outcomes:<10}  {'; '.join(event['details'])}"
    return plain(line.rstrip())
