"""`perdura announce`: packages that lie in the object store."""

from __future__ import annotations

from pathlib import Path

import click

from perdura.commands import api
from perdura.commands.jobs import watch_job


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
    if watch and not watch_job(registry, job):
        raise click.exceptions.Exit(1)
