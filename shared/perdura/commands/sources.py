"""`perdura sources`: the repositories that harvests know."""

from __future__ import annotations

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, moment, show, size


@click.group()
def sources() -> None:
    """Repositories that harvests know: list them, see how they do, search one."""


@sources.command("list")
@as_json_option
@api.connected
def list_sources(registry: Client, as_json: bool) -> None:
    """List all sources, and which of them can be searched."""
    columns: list[Column] = [
        ("ID", "id"), ("SEARCHED", "searchable"), ("SCHEDULES BY", "listed_by"), ("CREDENTIAL", "has_credential"),
        ("URL", "url"), ("NAME", "name"),
    ]  # fmt: skip
    show(registry.get("/sources")["items"], columns, as_json=as_json)


@sources.command("health")
@as_json_option
@api.connected
def source_health(registry: Client, as_json: bool) -> None:
    """Show how harvesting each source goes."""
    columns: list[Column] = [
        ("ID", "id"), ("HEALTH", "health"), ("ARCHIVES", "archives"), ("STOPPED", "stopped"),
        ("LAST", lambda row: moment(row["last_harvest"])), ("NEXT", lambda row: moment(row["next_harvest"])),
        ("RESTS UNTIL", lambda row: moment(row["rests_until"])),
    ]  # fmt: skip
    show(registry.get("/sources/health")["items"], columns, as_json=as_json)


@sources.command("search")
@click.argument("source")
@click.argument("query", default="")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True)
@click.option("--size", "per_page", type=click.IntRange(1, 100), default=20, show_default=True, help="Hits a page.")
@click.option("--sort", help="An order that the source knows.")
@as_json_option
@api.connected
def search_source(
    registry: Client, source: str, query: str, page: int, per_page: int, sort: str | None, as_json: bool
) -> None:
    """Search SOURCE, in its own syntax."""
    order = {"sort": sort} if sort else {}
    found = registry.get(f"/sources/{source}/search", q=query, page=page, size=per_page, **order)
    columns: list[Column] = [
        ("RECORD", lambda row: f"{row['source']}:{row['recid']}"), ("UPDATED", "updated"),
        ("SIZE", lambda row: size(row["bytes"])), ("TITLE", "title"),
    ]  # fmt: skip
    show(found["items"], columns, as_json=as_json)
    if not as_json:
        click.echo(f"{found['total']} in all")
