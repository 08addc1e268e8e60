"""`perdura harvest` and `perdura harvests`: fetch a record, and see how the fetching goes."""

from __future__ import annotations

from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, Row, as_json_option, limit_option, moment, said, show, size, tell
from perdura.commands.timeline import begun


@click.command()
@click.argument("record")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@click.option("--light", is_flag=True, help="Name the files in fetch.txt instead of fetching them.")
@click.option("--warc", is_flag=True, help="Keep the landing page as WARC.")
@click.option("--metadata-only", is_flag=True, help="Do without files that are closed.")
@click.option("--engine", type=click.Choice(["bagit-create"]), help="Harvest with CERN's program.")
@as_json_option
@api.connected
def harvest(registry: Client, /, record: str, watch: bool, light: bool, as_json: bool, **how: Any) -> None:
    """Fetch the RECORD (its URL, DOI or source:recid) with all its files, and preserve it.

    With --watch the exit status is 0 when it was preserved, 1 when it failed; all reasons are shown.
    """
    archive = registry.harvest(record, light=light, **{name: value for name, value in how.items() if value})
    begun(registry, archive, {"archive": archive}, watch=watch, as_json=as_json)


@click.group()
def harvests() -> None:
    """What was asked to be fetched, and how that goes."""


@harvests.command("list")
@click.option("--state", multiple=True, help="Only those whose archives are in this state; may be repeated.")
@click.option("--source", multiple=True, help="Only those from this source; may be repeated.")
@limit_option(50)
@as_json_option
@api.connected
def list_harvests(registry: Client, limit: int, as_json: bool, **which: Any) -> None:
    """List harvests, the newest first."""
    columns: list[Column] = [
        ("ARCHIVE", "archive"), ("STATE", "state"), ("CREATED", lambda row: moment(row["created"])),
        ("RECORD", _record), ("ERROR", lambda row: row["error"] and row["error"]["code"]),
    ]  # fmt: skip
    show(registry.items("/harvests", limit, **given(which)), columns, as_json=as_json)


@harvests.command("show")
@click.argument("archive_id")
@as_json_option
@api.connected
def show_harvest(registry: Client, archive_id: str, as_json: bool) -> None:
    """Show what was asked for, and how the fetching goes."""
    tell(registry.get(f"/harvests/{archive_id}"), as_json=as_json)


@harvests.command("resolve")
@click.argument("record")
@as_json_option
@api.connected
def resolve_record(registry: Client, record: str, as_json: bool) -> None:
    """Say what a RECORD (its URL, DOI or source:recid) is, and what would be fetched. Nothing is stored."""
    found = registry.resolve(record)
    if as_json:
        tell(found, as_json=True)
        return
    tell({name: value for name, value in found.items() if name not in {"files", "size"}}, as_json=False)
    click.echo(f"{len(found['files'])} files, {size(found['size'])}")
    show(found["files"], [("SIZE", lambda row: size(row["size"])), ("PATH", "path")], as_json=False)


@harvests.command("complete")
@click.argument("archive_id")
@as_json_option
@api.connected
def complete_harvest(registry: Client, archive_id: str, as_json: bool) -> None:
    """Fetch the files that a light package only names, then preserve it."""
    said(f"archive {archive_id}", registry.post(f"/archives/{archive_id}/completion"), as_json=as_json)


def _record(row: Row) -> str:
    asked = row["asked"]
    return str(asked["url"] or f"{asked['source']} {asked['recid']}")
