"""`perdura jobs`: one act on many Archives, in the background."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.options import given
from perdura.commands.tables import Column, as_json_option, counted, limit_option, plain, said, show, tell

ACTS = ("retry", "skip", "cancel", "run", "collect", "take-out")
LOOK_SECONDS = 0.5


@click.group()
def jobs() -> None:
    """Bulk work: one act on many archives."""


@jobs.command("list")
@limit_option(20)
@as_json_option
@api.connected
def list_jobs(registry: Client, limit: int, as_json: bool) -> None:
    """List jobs, the newest first."""
    columns: list[Column] = [
        ("ID", "id"), ("ACT", "act"), ("STATE", "state"), ("DONE", "done"), ("FAILED", "failed"), ("OF", "total"),
    ]  # fmt: skip
    show(registry.jobs(limit), columns, as_json=as_json)


@jobs.command("begin")
@click.argument("act", type=click.Choice(ACTS))
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Which archives, as in `archives list`.")
@click.option("--step", "steps", multiple=True, help="A step to run, for the act `run`; may be repeated.")
@click.option("--collection", help="The collection of `collect` and `take-out`.")
@click.option("--yes", is_flag=True, help="Do not show the plan first.")
@click.option("--watch", is_flag=True, help="Stay until it is done. Exit status 1 when something failed.")
@as_json_option
@api.connected
def begin_job(
    registry: Client,
    act: str,
    filters: Sequence[str],
    steps: Sequence[str],
    collection: str | None,
    yes: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Do one ACT on all archives of a filter, in the background; the plan is shown before."""
    wanted: dict[str, Any] = {"act": act, "filter": parsed(filters)}
    if steps:
        wanted["steps"] = list(steps)
    if collection:
        wanted["collection"] = collection
    if not yes:
        plan = registry.plan_job(wanted)
        click.echo(f"{act}: {plan['eligible']} of {counted(plan['total'], 'archive')}", err=as_json)
        for state, number in plan["states"].items():
            click.echo(f"  {state:<24} {number}", err=as_json)
        if not plan["fits"]:
            raise click.ClickException("one job changes 200,000 archives at most: narrow the filter")
        click.confirm("Do it?", abort=True, err=as_json)
    job = registry.begin_job(wanted)
    begun(registry, job, f"job {job['id']}", watch=watch, as_json=as_json)


@jobs.command("show")
@click.argument("job_id")
@click.option("--watch", is_flag=True, help="Stay until it is done. Exit status 1 when something failed.")
@as_json_option
@api.connected
def show_job(registry: Client, job_id: str, watch: bool, as_json: bool) -> None:
    """Show how far a job is."""
    job = registry.job(job_id)
    if not watch:
        tell(job, as_json=as_json)
    elif not watch_job(registry, job, as_json=as_json):
        raise click.exceptions.Exit(1)


@jobs.command("items")
@click.argument("job_id")
@click.option("--state", type=click.Choice(["queued", "done", "failed"]), help="Only those in this state.")
@limit_option(1000)
@as_json_option
@api.connected
def list_items(registry: Client, job_id: str, state: str | None, limit: int, as_json: bool) -> None:
    """List what became of each thing of a job."""
    columns: list[Column] = [
        ("STATE", "state"), ("ARCHIVE", "archive"), ("CODE", "code"), ("SUBJECT", "subject"), ("MESSAGE", "message"),
    ]  # fmt: skip
    found = registry.items(f"/jobs/{job_id}/items", limit, **given({"state": state}))
    show(found, columns, as_json=as_json)


@jobs.command("cancel")
@click.argument("job_id")
@as_json_option
@api.connected
def cancel_job(registry: Client, job_id: str, as_json: bool) -> None:
    """Do no more of a job; what was done stays."""
    told = registry.post(f"/jobs/{job_id}/cancel")
    said(f"job {job_id} is {told['state']}: {told['done']} of {told['total']} done", told, as_json=as_json)


def parsed(filters: Sequence[str]) -> dict[str, Any]:
    """`NAME=VALUE` pairs as a filter of the API; a repeated name is a list."""
    lists = {"state", "source", "origin", "step", "cause", "format"}
    found: dict[str, Any] = {}
    for pair in filters:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{pair!r} is not NAME=VALUE")
        if name in lists:
            found.setdefault(name, []).append(value)
        else:
            found[name] = int(value) if name.startswith("size_") and value.isdigit() else value
    return found


def begun(registry: Client, job: dict[str, Any], line: str, *, watch: bool, as_json: bool) -> None:
    """Say that a job was begun and, with `watch`, follow it to its end: the exit status is 1 where something failed."""
    if not (watch and as_json):
        said(line, job, as_json=as_json)
    if watch and not watch_job(registry, job, as_json=as_json):
        raise click.exceptions.Exit(1)


def watch_job(registry: Client, job: dict[str, Any], *, as_json: bool = False) -> bool:
    """Follow a job to its end, with a bar and then every failure; whether all of it was done.

    As JSON it is one document, of what the job became.
    """
    with click.progressbar(length=job["total"], label=job["act"], file=sys.stderr if as_json else None) as bar:
        at = 0
        while True:
            now = registry.job(job["id"])
            bar.update(now["done"] + now["failed"] - at)
            at = now["done"] + now["failed"]
            if now["state"] in {"completed", "cancelled"}:
                break
            time.sleep(LOOK_SECONDS)
    if as_json:
        tell(now, as_json=True)
        return not now["failed"]
    click.echo(f"{now['state']}: {now['done']} done, {now['failed']} failed")
    for item in registry.items(f"/jobs/{job['id']}/items", 100, state="failed"):
        click.echo(plain(f"  {item['archive'] or item['subject']}  {item['code']}: {item['message']}"))
    return not now["failed"]
