"""`perdura archivematica`: the Archivematicas of an installation as an operator sees and steers them."""

from __future__ import annotations

import json

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option


@click.group()
def archivematica() -> None:
    """List the Archivematicas; drain, pause and resume them."""


@archivematica.command("list")
@as_json_option
@api.connected
def list_instances(registry: Client, as_json: bool) -> None:
    """Show mode, health, version and load of each."""
    for each in registry.get("/archivematicas")["items"]:
        if as_json:
            click.echo(json.dumps(each))
            continue
        health = "reachable" if each["reachable"] else "unreachable"
        load = f"{each['packages']} packages, {each['bytes']} bytes in flight"
        why = f"  ({each['reason']})" if each["reason"] else ""
        click.echo(f"{each['name']:<20} {each['mode']:<9} {health:<12} {each['version'] or '-':<10} {load}{why}")


@archivematica.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; shown to others.")
@api.connected
def drain(registry: Client, name: str, reason: str) -> None:
    """Give NAME no new work; what it has is finished."""
    _change(registry, name, "draining", reason)


@archivematica.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; shown to others.")
@api.connected
def pause(registry: Client, name: str, reason: str) -> None:
    """Give NAME no new work until it is resumed."""
    _change(registry, name, "paused", reason)


@archivematica.command()
@click.argument("name")
@api.connected
def resume(registry: Client, name: str) -> None:
    """Let NAME work again."""
    _change(registry, name, "active", "")


def _change(registry: Client, name: str, mode: str, reason: str) -> None:
    answer = registry.put(f"/archivematicas/{name}", {"mode": mode, "reason": reason})
    click.echo(f"{answer['name']}: {answer['mode']}, {answer['packages']} packages in flight")
