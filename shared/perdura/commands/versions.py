"""`perdura versions`: versions of an Archive's AIP: list, make, choose, compare."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.timeline import follow


@click.group()
def versions() -> None:
    """List, make, choose and compare versions of an archive's AIP."""


@versions.command("list")
@click.argument("archive_id")
@api.options
@click.pass_obj
def list_versions(root: Path, archive_id: str, url: str | None, token: str | None) -> None:
    """Show all versions; the one in use is marked."""
    for each in api.connect(root, url, token).get(f"/archives/{archive_id}/versions")["items"]:
        mark = "*" if each["chosen"] else " "
        click.echo(f"{mark} {each['number']:>3}  {each['package']}  {each['created'][:19]}  {each['reason']}")


@versions.command()
@click.argument("archive_id")
@click.option("--reason", required=True, help="Why there is to be a new version.")
@click.option("--title", help="Another title.")
@click.option("--add", "added", multiple=True, metavar="PATH=FILE", help="Add or replace a file; may be repeated.")
@click.option("--migrated", multiple=True, metavar="PATH=SOURCE", help="An added PATH was made from the file SOURCE.")
@click.option("--profile", type=click.Choice(["perdura", "eark"]), help="Layout of the AIP.")
@click.option("--engine", type=click.Choice(["builtin", "archivematica", "a3m"]), help="What is to make it.")
@click.option("--watch", is_flag=True, help="Stay until it is made.")
@api.options
@click.pass_obj
def make(
    root: Path,
    archive_id: str,
    reason: str,
    title: str | None,
    added: tuple[str, ...],
    migrated: tuple[str, ...],
    profile: str | None,
    engine: str | None,
    watch: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Make a new version of the AIP of an archive."""
    registry = api.connect(root, url, token)
    sources = dict(each.partition("=")[::2] for each in migrated)
    files = [_uploaded(registry, archive_id, *each.partition("=")[::2], sources) for each in added]
    wished = {name: value for name, value in (("profile", profile), ("engine", engine)) if value}
    body: dict[str, Any] = {"reason": reason, "files": files, "preserve": wished}
    registry.post(f"/archives/{archive_id}/versions", body | ({"title": title} if title else {}))
    click.echo(f"archive {archive_id}")
    if watch and not follow(registry, archive_id):
        raise click.exceptions.Exit(1)


@versions.command()
@click.argument("archive_id")
@click.argument("package_id")
@api.options
@click.pass_obj
def choose(root: Path, archive_id: str, package_id: str, url: str | None, token: str | None) -> None:
    """Put another version into use; an older one is a rollback."""
    found = api.connect(root, url, token).post(f"/archives/{archive_id}/versions/{package_id}/choose")
    chosen = next(each for each in found["items"] if each["chosen"])
    click.echo(f"version {chosen['number']} is in use")


@versions.command()
@click.argument("archive_id")
@click.argument("old")
@click.argument("new")
@api.options
@click.pass_obj
def diff(root: Path, archive_id: str, old: str, new: str, url: str | None, token: str | None) -> None:
    """Compare two versions (their package ids) file by file."""
    marks = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
    found = api.connect(root, url, token).get(f"/archives/{archive_id}/versions/{old}/diff", to=new)
    for each in found["items"]:
        click.echo(f"{marks[each['kind']]} {each['path']}" + (f" (was {each['was']})" if each.get("was") else ""))


def _uploaded(registry: Client, archive: str, path: str, file: str, sources: dict[str, str]) -> dict[str, Any]:
    local = Path(file)
    if not file or not local.is_file():
        raise click.UsageError(f"{path!r}: PATH=FILE is wanted, and the file has to exist")
    size = local.stat().st_size
    with local.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    target = registry.post(f"/archives/{archive}/versions/uploads", {"size": size})

    def body() -> Any:
        with local.open("rb") as opened:
            while data := opened.read(1 << 20):
                yield data

    registry.upload(target["url"], {}, size, body)
    entry: dict[str, Any] = {"upload": target["upload"], "path": path, "size": size, "sha256": sha256}
    return entry | ({"derived_from": sources[path]} if path in sources else {})
