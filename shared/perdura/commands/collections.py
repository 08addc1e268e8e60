"""`perdura collections`: named sets of Archives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, as_json_option, counted, limit_option, plain, said, show, size, tell


@click.group()
def collections() -> None:
    """Collections: list, make, fill, sum up."""


@collections.command("list")
@click.option("-q", "--query", "q", help="Part of the name.")
@limit_option(100)
@as_json_option
@api.connected
def list_collections(registry: Client, q: str | None, limit: int, as_json: bool) -> None:
    """List collections by name."""
    columns: list[Column] = [("ID", "id"), ("ARCHIVES", "archives"), ("RESTRICTED", "restricted"), ("NAME", "name")]
    show(registry.items("/collections", limit, **given({"q": q})), columns, as_json=as_json)


@collections.command("show")
@click.argument("collection_id")
@as_json_option
@api.connected
def show_collection(registry: Client, collection_id: str, as_json: bool) -> None:
    """Show a collection; `archives list --collection` lists what is in it."""
    tell(registry.get(f"/collections/{collection_id}"), as_json=as_json)


@collections.command("create")
@click.argument("name")
@click.option("--description", default="", help="What it is.")
@click.option("--restricted", is_flag=True, help="Only those see it to whom it is granted.")
@as_json_option
@api.connected
def create_collection(registry: Client, name: str, description: str, restricted: bool, as_json: bool) -> None:
    """Make a collection; prints its id."""
    made = registry.create_collection(name, description=description, restricted=restricted)
    said(made["id"], made, as_json=as_json)


@collections.command("change")
@click.argument("collection_id")
@click.option("--name", help="Another name.")
@click.option("--description", help="Another description.")
@click.option("--restrict/--open", "restricted", default=None, help="Whether only those see it to whom it is granted.")
@as_json_option
@api.connected
def change_collection(registry: Client, collection_id: str, as_json: bool, **wanted: Any) -> None:
    """Rename a collection, describe it anew, restrict or open it."""
    change = given(wanted, blank=True)
    if not change:
        raise click.UsageError("say what is to change: --name, --description, --restrict or --open")
    tell(registry.patch(f"/collections/{collection_id}", change), as_json=as_json)


@collections.command("delete")
@click.argument("collection_id")
@click.confirmation_option(prompt="Its archives stay. Forget the collection?")
@api.connected
def delete_collection(registry: Client, collection_id: str) -> None:
    """Forget a collection; its archives stay."""
    registry.delete(f"/collections/{collection_id}")
    click.echo(f"collection {collection_id} is gone")


@collections.command("add")
@click.argument("collection_id")
@click.argument("archive_ids", nargs=-1, required=True)
@as_json_option
@api.connected
def add_members(registry: Client, collection_id: str, archive_ids: Sequence[str], as_json: bool) -> None:
    """Put archives into a collection."""
    added = registry.add_to_collection(collection_id, archive_ids)
    said(f"{added} added", {"changed": added}, as_json=as_json)


@collections.command("remove")
@click.argument("collection_id")
@click.argument("archive_ids", nargs=-1, required=True)
@as_json_option
@api.connected
def remove_members(registry: Client, collection_id: str, archive_ids: Sequence[str], as_json: bool) -> None:
    """Take archives out of a collection."""
    told = registry.post(f"/collections/{collection_id}/members/remove", {"archives": list(archive_ids)})
    said(f"{told['changed']} taken out", told, as_json=as_json)


@collections.command("summary")
@click.argument("collection_id")
@as_json_option
@api.connected
def collection_summary(registry: Client, collection_id: str, as_json: bool) -> None:
    """A collection in numbers."""
    summary = registry.collection_summary(collection_id)
    if as_json:
        tell(summary, as_json=True)
        return
    click.echo(plain(f"{summary['name']}: {counted(summary['total'], 'archive')}, {size(summary['bytes'])}"))
    for facet in summary["facets"].get("state", []):
        click.echo(f"  {facet['value']:<24} {facet['count']}")
