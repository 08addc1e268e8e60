"""`perdura failures`: what has stopped, by cause."""

from __future__ import annotations

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.jobs import begun
from perdura.commands.tables import Column, as_json_option, counted, moment, show


@click.group()
def failures() -> None:
    """What has stopped, grouped by cause, and the retry of a group."""


@failures.command("list")
@click.option("--limit", type=click.IntRange(1, 200), default=30, show_default=True, help="At most so many causes.")
@as_json_option
@api.connected
def list_failures(registry: Client, limit: int, as_json: bool) -> None:
    """List causes, the most frequent first."""
    columns: list[Column] = [
        ("ARCHIVES", "archives"), ("STATE", "state"), ("STEP", "step"), ("CODE", lambda row: row["code"] or "-"),
        ("LAST", lambda row: moment(row["last"])), ("MESSAGE", "message"),
    ]  # fmt: skip
    show(registry.get("/failures", limit=limit)["items"], columns, as_json=as_json)


@failures.command("retry")
@click.argument("step")
@click.argument("code", default="")
@click.option("--state", type=click.Choice(["failed", "blocked"]), default="failed", show_default=True)
@click.option("--watch", is_flag=True, help="Stay until all are begun. Exit status 1 when some could not be.")
@as_json_option
@api.connected
def retry_failures(registry: Client, step: str, code: str, state: str, watch: bool, as_json: bool) -> None:
    """Retry all archives that STEP has stopped with the error CODE, in the background."""
    job = registry.post("/failures/retry", {"step": step, "code": code, "state": state})
    begun(registry, job, f"job {job['id']}: {counted(job['total'], 'archive')}", watch=watch, as_json=as_json)
