"""`perdura collections`: named sets of Archives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from perdura.commands import api
from perdura.commands.tables import show, size


@click.group()
def collections() -> None:
    """Collections: list, make, fill, sum up."""


@collections.command("list")
@click.option("--limit", default=100, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def list_collections(root: Path, limit: int, as_json: bool, url: str | None, token: str | None) -> None:
    """List collections by name."""
    registry = api.connect(root, url, token)
    columns = [
        ("ID", lambda row: row["id"]),
        ("ARCHIVES", lambda row: row["archives"]),
        ("NAME", lambda row: row["name"]),
    ]
    show(registry.collections(limit), columns, as_json=as_json)


@collections.command("create")
@click.argument("name")
@click.option("--description", default="", help="What it is.")
@click.option("--restricted", is_flag=True, help="Only those see it to whom it is granted.")
@api.options
@click.pass_obj
def create_collection(
    root: Path, name: str, description: str, restricted: bool, url: str | None, token: str | None
) -> None:
    """Make a collection; prints its id."""
    registry = api.connect(root, url, token)
    made = registry.create_collection(name, description=description, restricted=restricted)
    click.echo(made["id"])


@collections.command("add")
@click.argument("collection_id")
@click.argument("archive_ids", nargs=-1, required=True)
@api.options
@click.pass_obj
def add_members(root: Path, collection_id: str, archive_ids: Sequence[str], url: str | None, token: str | None) -> None:
    """Put archives into a collection."""
    registry = api.connect(root, url, token)
    changed = registry.add_to_collection(collection_id, archive_ids)
    click.echo(f"{changed} added")


@collections.command("summary")
@click.argument("collection_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@api.options
@click.pass_obj
def collection_summary(root: Path, collection_id: str, as_json: bool, url: str | None, token: str | None) -> None:
    """A collection in numbers."""
    summary = api.connect(root, url, token).collection_summary(collection_id)
    if as_json:
        click.echo(json.dumps(summary, indent=2))
        return
    click.echo(f"{summary['name']}: {summary['total']} archives, {size(summary['bytes'])}")
    for facet in summary["facets"]["state"]:
        click.echo(f"  {facet['value']:<24} {facet['count']}")
