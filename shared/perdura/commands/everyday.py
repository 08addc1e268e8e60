"""Commands of everyday work: collections, bulk work, announcements, recalls, statistics."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import show, size

ACTS = ("retry", "skip", "cancel", "run", "collect", "take-out")


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


@click.group()
def jobs() -> None:
    """Bulk work: one act on many archives."""


@jobs.command("list")
@click.option("--limit", default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def list_jobs(root: Path, limit: int, as_json: bool, url: str | None, token: str | None) -> None:
    """List jobs, the newest first."""
    registry = api.connect(root, url, token)
    columns = [
        ("ID", lambda row: row["id"]), ("ACT", lambda row: row["act"]), ("STATE", lambda row: row["state"]),
        ("DONE", lambda row: row["done"]), ("FAILED", lambda row: row["failed"]), ("OF", lambda row: row["total"]),
    ]  # fmt: skip
    show(registry.jobs(limit), columns, as_json=as_json)


@jobs.command("begin")
@click.argument("act", type=click.Choice(ACTS))
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Which archives, as in `archives list`.")
@click.option("--step", "steps", multiple=True, help="A step to run, for the act `run`; may be repeated.")
@click.option("--collection", help="The collection of `collect` and `take-out`.")
@click.option("--yes", is_flag=True, help="Do not show the plan first.")
@click.option("--watch", is_flag=True, help="Stay until it is done. Exit status 1 when something failed.")
@api.options
@click.pass_obj
def begin_job(
    root: Path, act: str, filters: Sequence[str], steps: Sequence[str], collection: str | None, yes: bool, watch: bool,
    url: str | None, token: str | None,
) -> None:  # fmt: skip
    """Do one ACT on all archives of a filter, in the background; the plan is shown before."""
    registry = api.connect(root, url, token)
    wanted: dict[str, Any] = {"act": act, "filter": parsed(filters)}
    if steps:
        wanted["steps"] = list(steps)
    if collection:
        wanted["collection"] = collection
    if not yes:
        plan = registry.plan_job(wanted)
        click.echo(f"{act}: {plan['eligible']} of {plan['total']} archives")
        for state, number in plan["states"].items():
            click.echo(f"  {state:<24} {number}")
        click.confirm("Do it?", abort=True)
    job = registry.begin_job(wanted)
    click.echo(f"job {job['id']}")
    if watch:
        _watch(registry, job)


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


def _watch(registry: Client, job: dict[str, Any]) -> None:
    with click.progressbar(length=job["total"], label=job["act"]) as bar:
        at = 0
        while True:
            now = registry.job(job["id"])
            bar.update(now["done"] + now["failed"] - at)
            at = now["done"] + now["failed"]
            if now["state"] in {"completed", "cancelled"}:
                break
            time.sleep(0.5)
    click.echo(f"{now['state']}: {now['done']} done, {now['failed']} failed")
    for item in registry.items(f"/jobs/{job['id']}/items", 100, state="failed"):
        click.echo(f"  {item['archive'] or item['subject']}  {item['code']}: {item['message']}")
    if now["failed"]:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("bucket")
@click.argument("prefix")
@click.option("--collection", help="The archives join this collection.")
@click.option("--watch", is_flag=True, help="Stay until all are begun. Exit status 1 when some could not be.")
@api.options
@click.pass_obj
def announce(
    root: Path, bucket: str, prefix: str, collection: str | None, watch: bool, url: str | None, token: str | None
) -> None:
    """Have every zip, tar and tar.gz below PREFIX of BUCKET ingested where it lies."""
    registry = api.connect(root, url, token)
    job = registry.announce(bucket, prefix, collection)
    click.echo(f"job {job['id']}: {job['total']} packages")
    if watch:
        _watch(registry, job)


@click.command()
@click.argument("archive_id")
@click.option("--package", help="This version of the AIP, by its id; without it, that in use.")
@click.option("--file", help="Only this file, by its path in the AIP.")
@click.option("--drill", is_flag=True, help="Prove that it can be done; keep nothing.")
@api.options
@click.pass_obj
def recall(
    root: Path,
    archive_id: str,
    package: str | None,
    file: str | None,
    drill: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Bring the AIP of an archive back from tape."""
    registry = api.connect(root, url, token)
    click.echo(f"step {registry.recall(archive_id, package=package, file=file, drill=drill)['step']}")


@click.command()
@click.option("--days", default=90, show_default=True, help="The period.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@api.options
@click.pass_obj
def stats(root: Path, days: int, as_json: bool, url: str | None, token: str | None) -> None:
    """What the installation holds and does, in numbers."""
    found = api.connect(root, url, token).statistics(days)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{found['archives']} archives, {size(found['bytes'])}")
    for state, number in found["states"].items():
        click.echo(f"  {state:<24} {number}")
    click.echo(f"\n{found['since']} to {found['until']}")
    columns = [
        ("STEP", lambda row: row["name"]), ("RUNS", lambda row: row["runs"]), ("FAILED", lambda row: row["failed"]),
        ("MEAN", lambda row: f"{row['mean_seconds']} s"),
        ("95 % WITHIN", lambda row: f"{row['slowest_twentieth_seconds']} s"),
    ]  # fmt: skip
    show(found["steps"], columns, as_json=False)


@click.command("import-oais")
@click.argument("dump", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--origin", required=True, help="Address of the platform it comes from.")
@click.option("--bucket", required=True, help="Bucket in which the SIPs lie.")
@click.option("--base", default="", help="What the paths there begin with and the keys do not.")
@click.option("--watch", is_flag=True, help="Stay until all are begun. Exit status 1 when some could not be.")
@api.options
@click.pass_obj
def import_oais(
    root: Path, dump: Path, origin: str, bucket: str, base: str, watch: bool, url: str | None, token: str | None
) -> None:
    """Take over the archives of a CERN OAIS platform from DUMP.

    DUMP is JSON: `{"archives": [...], "steps": [...], "collections": [...]}` as the API there lists them.
    """
    registry = api.connect(root, url, token)
    archives = oais_archives(json.loads(dump.read_text("utf-8")))
    for first in range(0, len(archives), 500):
        some = archives[first : first + 500]
        job = registry.post("/imports/oais", {"origin": origin, "bucket": bucket, "base": base, "archives": some})
        click.echo(f"job {job['id']}: {job['total']} archives")
        if watch:
            _watch(registry, job)


def oais_archives(dump: dict[str, Any]) -> list[dict[str, Any]]:
    """The archives of a dump, each with its steps and the titles of its collections."""
    steps: dict[int, list[dict[str, Any]]] = {}
    for step in dump.get("steps", []):
        kind = step.get("step_type")
        name = kind.get("name", "") if isinstance(kind, dict) else str(kind)
        steps.setdefault(step["archive"], []).append({**step, "name": name})
    named: dict[int, list[str]] = {}
    for collection in dump.get("collections", []):
        for archive in collection.get("archives", []):
            number = archive["id"] if isinstance(archive, dict) else archive
            named.setdefault(number, []).append(collection["title"])
    return [
        {**archive, "title": archive.get("title") or "", "steps": steps.get(archive["id"], []),
         "collections": named.get(archive["id"], [])}
        for archive in dump.get("archives", [])
    ]  # fmt: skip
