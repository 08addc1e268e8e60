"""`perdura archives`: list, count, export and show archives, and act on one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, BinaryIO

import click

from perdura.client import Client
from perdura.commands import api
from perdura.commands.filters import filters
from perdura.commands.options import given
from perdura.commands.tables import Column, as_json_option, counted, limit_option, plain, said, show, size, tell
from perdura.commands.timeline import begun, outcome_lines


@click.group(invoke_without_command=True)
@click.pass_context
def archives(context: click.Context) -> None:
    """List archives, show one, act on one."""
    if context.invoked_subcommand is None:
        with list_archives.make_context("list", [], parent=context) as listing:
            list_archives.invoke(listing)


@archives.command("list")
@filters
@limit_option(50)
@as_json_option
@api.connected
def list_archives(registry: Client, /, limit: int, as_json: bool, **which: Any) -> None:
    """List archives, the newest first; all conditions have to hold."""
    columns: list[Column] = [
        ("ID", "id"), ("STATE", "state"), ("CREATED", lambda row: row["created"][:19]),
        ("SIZE", lambda row: size(row.get("size"))), ("TITLE", lambda row: row.get("title") or ""),
    ]  # fmt: skip
    show(registry.archives(limit, **given(which)), columns, as_json=as_json)


@archives.command("facets")
@filters
@as_json_option
@api.connected
def count_archives(registry: Client, /, as_json: bool, **which: Any) -> None:
    """Count archives by everything a list can be narrowed by."""
    found = registry.get("/archives/facets", **given(which))
    if as_json:
        tell(found, as_json=True)
        return
    click.echo(f"{counted(found['total'], 'archive', more=not found['exact'])}, {size(found['bytes'])}")
    for name, values in found["facets"].items():
        for each in values:
            click.echo(plain(f"  {name:<10} {each['value']:<40} {each['count']}"))


@archives.command("export")
@filters
@click.option("--type", "kind", type=click.Choice(["csv", "ndjson"]), default="csv", show_default=True)
@click.option("-o", "--output", type=click.File("wb"), default="-", help="Where to write. Default: standard output.")
@api.connected
def export_archives(registry: Client, /, kind: str, output: BinaryIO, **which: Any) -> None:
    """Write all matching archives as CSV or JSON lines."""
    with registry.download("/api/v1/archives/export", type=kind, **given(which)) as answer:
        for piece in answer.iter_bytes(1 << 20):
            output.write(piece)


@archives.command("show")
@click.argument("archive_id")
@as_json_option
@api.connected
def show_archive(registry: Client, archive_id: str, as_json: bool) -> None:
    """Show one archive: its steps, its packages, its copies."""
    archive = registry.archive(archive_id)
    steps = registry.steps(archive_id)
    if as_json:
        click.echo(json.dumps({**archive, "steps": steps}, indent=2))
        return
    click.echo(f"{plain(archive.get('title') or 'untitled')}\n")
    for step in steps:
        click.echo(f"  {step['name']:<12} {step['state']:<24} {step['started'] or ''}")
    for package in archive.get("packages") or []:
        click.echo(plain(f"  {package['kind']:<12} {package['bucket']}/{package['key']}  {package['size']} bytes"))
    click.echo("")
    for line in outcome_lines(archive, steps):
        click.echo(plain(line))


@archives.command("files")
@click.argument("archive_id")
@click.option("--prefix", help="Only paths that begin like this.")
@click.option("--package", help="Of this package, by its id; without it, of the newest AIP or SIP.")
@limit_option(1000)
@as_json_option
@api.connected
def list_files(registry: Client, archive_id: str, limit: int, as_json: bool, **which: Any) -> None:
    """List the files of an archive by path; `perdura fetch --file` reads one."""
    columns: list[Column] = [
        ("SIZE", lambda row: size(row["size"])), ("FORMAT", lambda row: row["format"]["puid"]), ("PATH", "path"),
    ]  # fmt: skip
    show(registry.items(f"/archives/{archive_id}/files", limit, **given(which)), columns, as_json=as_json)


@archives.command("preservation")
@click.argument("archive_id")
@click.option("--engine", type=click.Choice(["builtin", "archivematica", "a3m"]), help="What is to make the AIP.")
@click.option("--profile", type=click.Choice(["perdura", "eark"]), help="Layout of the AIP.")
@click.option("--instance", help="Which Archivematica is to make it.")
@click.option("--configuration", help="Its processing configuration.")
@as_json_option
@api.connected
def preservation(registry: Client, archive_id: str, as_json: bool, **wished: str | None) -> None:
    """Say how an archive is to be preserved from now on; without an option, show it."""
    path, said = f"/archives/{archive_id}/preservation", given(wished)
    tell(registry.put(path, said) if said else registry.get(path), as_json=as_json)


@archives.command("skip")
@click.argument("archive_id")
@as_json_option
@api.connected
def skip(registry: Client, archive_id: str, as_json: bool) -> None:
    """Go on without the failed or blocked step of an archive."""
    said(f"archive {archive_id}", registry.skip(archive_id), as_json=as_json)


@archives.command("cancel")
@click.argument("archive_id")
@click.option("--step", help="Only this recall or check, by the id of its step.")
@as_json_option
@api.connected
def cancel(registry: Client, archive_id: str, step: str | None, as_json: bool) -> None:
    """Stop an archive where it is; what was asked of the tape system is called off there."""
    cancelled = registry.cancel(archive_id, step)
    said(f"archive {archive_id}" if step is None else f"step {step}", cancelled, as_json=as_json)


@archives.command("archive-again")
@click.argument("archive_id")
@click.option("--package", help="This version of the AIP, by its id; without it, that in use.")
@as_json_option
@api.connected
def archive_again(registry: Client, archive_id: str, package: str | None, as_json: bool) -> None:
    """Make the copy on tape of an archive again that was found lost or damaged, at a new place."""
    asked = registry.archive_again(archive_id, package=package)
    said(f"step {asked['step']}", asked, as_json=as_json)


@archives.command("run")
@click.argument("archive_id")
@click.argument("steps", nargs=-1, required=True)
@as_json_option
@api.connected
def run_steps(registry: Client, archive_id: str, steps: Sequence[str], as_json: bool) -> None:
    """Run more STEPS behind the finished pipeline of an archive."""
    said(f"archive {archive_id}", registry.run(archive_id, steps), as_json=as_json)


@click.command()
@click.argument("archive_id")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@as_json_option
@api.connected
def retry(registry: Client, archive_id: str, watch: bool, as_json: bool) -> None:
    """Try the failed step of an archive again."""
    begun(registry, archive_id, registry.retry(archive_id), watch=watch, as_json=as_json)
