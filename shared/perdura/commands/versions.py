"""`perdura versions`: versions of an Archive's AIP: list, make, choose, compare."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, Any

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.tables import Column, as_json_option, moment, plain, said, show, tell
from perdura.commands.timeline import begun


@click.group()
def versions() -> None:
    """List, make, choose and compare versions of an archive's AIP."""


@versions.command("list")
@click.argument("archive_id")
@as_json_option
@api.connected
def list_versions(registry: Client, archive_id: str, as_json: bool) -> None:
    """Show all versions; the one in use is marked."""
    columns: list[Column] = [
        ("", lambda row: "*" if row["chosen"] else " "), ("NUMBER", "number"), ("PACKAGE", "package"),
        ("CREATED", lambda row: moment(row["created"])), ("REASON", "reason"),
    ]  # fmt: skip
    show(registry.get(f"/archives/{archive_id}/versions")["items"], columns, as_json=as_json)


@versions.command()
@click.argument("archive_id")
@click.option("--reason", required=True, help="Why there is to be a new version.")
@click.option("--title", help="Another title.")
@click.option("--metadata", type=click.File("rb"), help="JSON whose members replace those of the metadata.")
@click.option("--add", "added", multiple=True, metavar="PATH=FILE", help="Add or replace a file; may be repeated.")
@click.option("--migrated", multiple=True, metavar="PATH=SOURCE", help="An added PATH was made from the file SOURCE.")
@click.option("--profile", type=click.Choice(["perdura", "eark"]), help="Layout of the AIP.")
@click.option("--engine", type=click.Choice(["builtin", "archivematica", "a3m"]), help="What is to make it.")
@click.option("--watch", is_flag=True, help="Stay until it is made.")
@as_json_option
@api.connected
def make(
    registry: Client,
    archive_id: str,
    reason: str,
    title: str | None,
    metadata: IO[bytes] | None,
    added: tuple[str, ...],
    migrated: tuple[str, ...],
    profile: str | None,
    engine: str | None,
    watch: bool,
    as_json: bool,
) -> None:
    """Make a new version of the AIP of an archive."""
    sources = dict(each.partition("=")[::2] for each in migrated)
    if astray := sources.keys() - {each.partition("=")[0] for each in added}:
        raise click.UsageError(f"--migrated names {min(astray)!r}, which no --add names")
    changes: dict[str, Any] = {"title": title} if title else {}
    if metadata is not None:
        changes["metadata"] = _object(metadata)
    files = [_uploaded(registry, archive_id, *each.partition("=")[::2], sources) for each in added]
    wished = {name: value for name, value in (("profile", profile), ("engine", engine)) if value}
    body: dict[str, Any] = {"reason": reason, "files": files, "preserve": wished}
    made = registry.post(f"/archives/{archive_id}/versions", body | changes)
    begun(registry, archive_id, made, watch=watch, as_json=as_json)


@versions.command()
@click.argument("archive_id")
@click.argument("package_id")
@as_json_option
@api.connected
def choose(registry: Client, archive_id: str, package_id: str, as_json: bool) -> None:
    """Put another version into use; an older one is a rollback."""
    found = registry.post(f"/archives/{archive_id}/versions/{package_id}/choose")
    chosen = next(each for each in found["items"] if each["chosen"])
    said(f"version {chosen['number']} is in use", chosen, as_json=as_json)


@versions.command()
@click.argument("archive_id")
@click.argument("old")
@click.argument("new")
@as_json_option
@api.connected
def diff(registry: Client, archive_id: str, old: str, new: str, as_json: bool) -> None:
    """Compare two versions (their package ids) file by file."""
    marks = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
    found = registry.get(f"/archives/{archive_id}/versions/{old}/diff", to=new)
    if as_json:
        tell(found, as_json=True)
        return
    for each in found["items"]:
        was = f" (was {each['was']})" if each.get("was") else ""
        click.echo(plain(f"{marks[each['kind']]} {each['path']}{was}"))
    if found["more"]:
        click.echo("… and more; `perdura aip diff` compares the packages themselves.", err=True)


def _object(file: IO[bytes]) -> dict[str, Any]:
    try:
        found = json.load(file)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise click.UsageError("--metadata wants a file with one JSON object")
    return found


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
