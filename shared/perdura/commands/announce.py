"""`perdura announce`: packages that lie in the object store."""

from __future__ import annotations

from io import TextIOWrapper
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.jobs import begun
from perdura.commands.tables import as_json_option


@click.command()
@click.argument("bucket")
@click.argument("prefix", required=False)
@click.option(
    "--list", "listed", type=click.File("r", encoding="utf-8"), help="File that names packages by their keys."
)
@click.option("--collection", help="The archives join this collection.")
@click.option("--watch", is_flag=True, help="Stay until all are begun. Exit status 1 when some could not be.")
@as_json_option
@api.connected
def announce(
    registry: Client,
    bucket: str,
    prefix: str | None,
    listed: TextIOWrapper | None,
    collection: str | None,
    watch: bool,
    as_json: bool,
) -> None:
    """Have every zip, tar and tar.gz below PREFIX of BUCKET ingested where it lies, or those of a list.

    A list has a key on each line, with its SHA-256 before it if wanted: the form of `sha256sum`. `-` is standard input.
    """
    if (prefix is None) == (listed is None):
        raise click.UsageError("say either PREFIX or --list")
    wanted: dict[str, Any] = {"bucket": bucket, **({"collection": collection} if collection else {})}
    if listed is not None:
        from perdura.web.announcing import read_keys

        wanted["packages"] = read_keys(listed.read())
    else:
        wanted["prefix"] = prefix
    job = registry.post("/announcements", wanted)
    begun(registry, job, f"job {job['id']}: {job['total']} packages", watch=watch, as_json=as_json)
