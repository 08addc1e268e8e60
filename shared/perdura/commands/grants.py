"""`perdura grants`: who may see what is restricted."""

from __future__ import annotations

from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, Row, as_json_option, limit_option, moment, said, show


@click.group()
def grants() -> None:
    """Who may see restricted archives and collections."""


@grants.command("list")
@click.option("--user", help="Only those of this account, by its id.")
@click.option("--group", help="Only those of this group.")
@click.option("--archive", help="Only those of this archive.")
@click.option("--collection", help="Only those of this collection.")
@click.option("--own/--given", default=None, help="Only those of who made an archive, or only those that were given.")
@limit_option(100)
@as_json_option
@api.connected
def list_grants(registry: Client, limit: int, as_json: bool, **which: Any) -> None:
    """List grants, the newest first."""
    columns: list[Column] = [
        ("ID", "id"), ("TO", lambda row: row["group"] or row["user"]), ("OF", _thing), ("BY", "given_by"),
        ("CREATED", lambda row: moment(row["created"])),
    ]  # fmt: skip
    show(registry.items("/grants", limit, **given(which)), columns, as_json=as_json)


@grants.command("give")
@click.option("--user", help="To this account, by its id.")
@click.option("--group", help="To this group.")
@click.option("--archive", help="Of this archive.")
@click.option("--collection", help="Of this collection and what is in it.")
@as_json_option
@api.connected
def give_grant(registry: Client, as_json: bool, **what: Any) -> None:
    """Let an account or a group see an archive or a collection; prints the grant's id."""
    grant = registry.post("/grants", given(what))
    said(grant["id"], grant, as_json=as_json)


@grants.command("take")
@click.argument("grant_id")
@api.connected
def take_grant(registry: Client, grant_id: str) -> None:
    """Take a grant back."""
    registry.delete(f"/grants/{grant_id}")
    click.echo(f"grant {grant_id} is taken back")


def _thing(row: Row) -> str:
    return f"archive {row['archive']}" if row["archive"] else f"collection {row['collection']}"
