"""`perdura pipelines`: named plans of steps."""

from __future__ import annotations

from collections.abc import Sequence

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, said, show, tell


@click.group()
def pipelines() -> None:
    """Named plans of steps, which schedules run."""


@pipelines.command("list")
@as_json_option
@api.connected
def list_pipelines(registry: Client, as_json: bool) -> None:
    """List pipelines by name."""
    columns: list[Column] = [("NAME", "name"), ("STEPS", "steps"), ("DESCRIPTION", "description")]
    show(registry.get("/pipelines")["items"], columns, as_json=as_json)


@pipelines.command("show")
@click.argument("name")
@as_json_option
@api.connected
def show_pipeline(registry: Client, name: str, as_json: bool) -> None:
    """Show one pipeline."""
    tell(registry.get(f"/pipelines/{name}"), as_json=as_json)


@pipelines.command("put")
@click.argument("name")
@click.argument("steps", nargs=-1, required=True)
@click.option("--description", default="", help="What it is for.")
@as_json_option
@api.connected
def put_pipeline(registry: Client, name: str, steps: Sequence[str], description: str, as_json: bool) -> None:
    """Keep STEPS as a pipeline under NAME; one of that name is replaced."""
    kept = registry.put(f"/pipelines/{name}", {"steps": list(steps), "description": description})
    said(f"pipeline {name}: {', '.join(steps)}", kept, as_json=as_json)


@pipelines.command("delete")
@click.argument("name")
@api.connected
def delete_pipeline(registry: Client, name: str) -> None:
    """Forget a pipeline; what runs by it goes on."""
    registry.delete(f"/pipelines/{name}")
    click.echo(f"pipeline {name} is gone")


@pipelines.command("plan")
@click.argument("steps", nargs=-1)
@as_json_option
@api.connected
def plan_pipeline(registry: Client, steps: Sequence[str], as_json: bool) -> None:
    """Say whether STEPS form a pipeline, and what may follow. Exit status 1: they do not."""
    told = registry.post("/pipelines/plan", {"steps": list(steps)})
    tell(told, as_json=as_json)
    if not told["legal"]:
        raise click.exceptions.Exit(1)
