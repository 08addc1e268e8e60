"""`perdura archivematica`: the Archivematicas of an installation as an operator sees and steers them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from perdura.commands import api


@click.group()
def archivematica() -> None:
    """List the Archivematicas; drain, pause and resume them."""


@archivematica.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def list_instances(root: Path, as_json: bool, url: str | None, token: str | None) -> None:
    """Show mode, health, version and load of each."""
    for each in api.connect(root, url, token).get("/archivematicas")["items"]:
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
@api.options
@click.pass_obj
def drain(root: Path, name: str, reason: str, url: str | None, token: str | None) -> None:
    """Give NAME no new work; what it has is finished."""
    _change(root, name, "draining", reason, url, token)


@archivematica.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; shown to others.")
@api.options
@click.pass_obj
def pause(root: Path, name: str, reason: str, url: str | None, token: str | None) -> None:
    """Give NAME no new work until it is resumed."""
    _change(root, name, "paused", reason, url, token)


@archivematica.command()
@click.argument("name")
@api.options
@click.pass_obj
def resume(root: Path, name: str, url: str | None, token: str | None) -> None:
    """Let NAME work again."""
    _change(root, name, "active", "", url, token)


def _change(root: Path, name: str, mode: str, reason: str, url: str | None, token: str | None) -> None:
    answer = api.connect(root, url, token).put(f"/archivematicas/{name}", {"mode": mode, "reason": reason})
    click.echo(f"{answer['name']}: {answer['mode']}, {answer['packages']} packages in flight")
