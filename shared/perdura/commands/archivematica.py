"""`perdura archivematica`: the Archivematicas of an installation as an operator sees and steers them."""

from __future__ import annotations

import json

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import as_json_option, said


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
@as_json_option
@api.connected
def drain(registry: Client, name: str, reason: str, as_json: bool) -> None:
    """Give NAME no new work; what it has is finished."""
    _change(registry, name, "draining", reason, as_json=as_json)


@archivematica.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; shown to others.")
@as_json_option
@api.connected
def pause(registry: Client, name: str, reason: str, as_json: bool) -> None:
    """Give NAME no new work until it is resumed."""
    _change(registry, name, "paused", reason, as_json=as_json)


@archivematica.command()
@click.argument("name")
@as_json_option
@api.connected
def resume(registry: Client, name: str, as_json: bool) -> None:
    """Let NAME work again."""
    _change(registry, name, "active", "", as_json=as_json)


def _change(registry: Client, name: str, mode: str, reason: str, *, as_json: bool) -> None:
    answer = registry.put(f"/archivematicas/{name}", {"mode": mode, "reason": reason})
    said(f"{answer['name']}: {answer['mode']}, {answer['packages']} packages in flight", answer, as_json=as_json)
