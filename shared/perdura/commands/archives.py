"""Commands that read and move archives: harvest, archives, events, retry, fetch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from perdura.commands import api
from perdura.commands.failures import Unusable
from perdura.commands.tables import show, size
from perdura.commands.timeline import follow, outcome_lines


@click.command()
@click.argument("record")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@click.option("--light", is_flag=True, help="Name the files in fetch.txt instead of fetching them.")
@click.option("--warc", is_flag=True, help="Keep the landing page as WARC.")
@click.option("--metadata-only", is_flag=True, help="Do without files that are closed.")
@click.option("--engine", type=click.Choice(["bagit-create"]), help="Harvest with CERN's program.")
@api.options
@click.pass_obj
def harvest(
    root: Path, /, record: str, watch: bool, light: bool, url: str | None, token: str | None, **how: Any
) -> None:
    """Fetch the RECORD (its URL, DOI or source:recid) with all its files, and preserve it.

    With --watch the exit status is 0 when it was preserved, 1 when it failed; all reasons are shown.
    """
    registry = api.connect(root, url, token)
    archive = registry.harvest(record, light=light, **{name: value for name, value in how.items() if value})
    click.echo(f"archive {archive}")
    if watch and not follow(registry, archive):
        raise click.exceptions.Exit(1)


@click.group(invoke_without_command=True)
@click.pass_context
def archives(context: click.Context) -> None:
    """List archives, or show one."""
    if context.invoked_subcommand is None:
        with list_archives.make_context("list", [], parent=context) as listing:
            list_archives.invoke(listing)


@archives.command("list")
@click.option("--limit", default=50, show_default=True, help="At most so many.")
@click.option("--state", multiple=True, help="Only those in this state; may be repeated.")
@click.option("--source", multiple=True, help="Only those from this source; may be repeated.")
@click.option("--step", multiple=True, help="Only those with a step as `name:state`; may be repeated.")
@click.option("--cause", multiple=True, help="Only those that this error code has stopped; may be repeated.")
@click.option("--collection", help="Only members of this collection.")
@click.option("--since", metavar="DAY", help="Only those of this day (2026-01-31) or later.")
@click.option("-q", "--query", help="Only those with these words in title or metadata.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def list_archives(
    root: Path, limit: int, state: Sequence[str], source: Sequence[str], step: Sequence[str], cause: Sequence[str],
    collection: str | None, since: str | None, query: str | None, as_json: bool, url: str | None, token: str | None,
) -> None:  # fmt: skip
    """List archives, the newest first; all conditions have to hold."""
    registry = api.connect(root, url, token)
    given = {"state": state, "source": source, "step": step, "cause": cause, "collection": collection,
             "created_from": since, "q": query}  # fmt: skip
    wanted = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    columns = [
        ("ID", lambda row: row["id"]), ("STATE", lambda row: row["state"]),
        ("CREATED", lambda row: row["created"][:19]), ("SIZE", lambda row: size(row.get("size"))),
        ("TITLE", lambda row: row.get("title") or ""),
    ]  # fmt: skip
    show(registry.archives(limit, **wanted), columns, as_json=as_json)


def _act(name: str, words: str) -> None:
    @archives.command(name, help=words)
    @click.argument("archive_id")
    @api.options
    @click.pass_obj
    def act(root: Path, archive_id: str, url: str | None, token: str | None) -> None:
        api.connect(root, url, token).post(f"/archives/{archive_id}/{name}")
        click.echo(f"archive {archive_id}")


_act("skip", "Go on without the failed or blocked step of an archive.")
_act("cancel", "Stop an archive where it is.")


@archives.command("run")
@click.argument("archive_id")
@click.argument("steps", nargs=-1, required=True)
@api.options
@click.pass_obj
def run_steps(root: Path, archive_id: str, steps: Sequence[str], url: str | None, token: str | None) -> None:
    """Run more STEPS behind the finished pipeline of an archive."""
    api.connect(root, url, token).run(archive_id, steps)
    click.echo(f"archive {archive_id}")


@archives.command("show")
@click.argument("archive_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@api.options
@click.pass_obj
def show_archive(root: Path, archive_id: str, as_json: bool, url: str | None, token: str | None) -> None:
    """Show one archive: its steps, its packages, its copies."""
    registry = api.connect(root, url, token)
    archive = registry.archive(archive_id)
    steps = registry.steps(archive_id)
    if as_json:
        click.echo(json.dumps({**archive, "steps": steps}, indent=2))
        return
    click.echo(f"{archive.get('title') or 'untitled'}\n")
    for step in steps:
        click.echo(f"  {step['name']:<12} {step['state']:<24} {step['started'] or ''}")
    for package in archive.get("packages") or []:
        click.echo(f"  {package['kind']:<12} {package['bucket']}/{package['key']}  {package['size']} bytes")
    click.echo("")
    for line in outcome_lines(archive, steps):
        click.echo(line)


@click.command()
@click.argument("archive_id")
@click.option("--limit", default=1000, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, one document per line.")
@api.options
@click.pass_obj
def events(root: Path, archive_id: str, limit: int, as_json: bool, url: str | None, token: str | None) -> None:
    """Show the PREMIS events of an archive, the oldest first."""
    registry = api.connect(root, url, token)
    for event in registry.events(archive_id, limit):
        click.echo(json.dumps(event) if as_json else event_line(event))


def event_line(event: dict[str, Any]) -> str:
    """A PREMIS event in one line: when, what, with which outcome."""
    outcomes = ", ".join(outcome["outcome"] for outcome in event["outcomes"])
    return f"{event['at'][:19]}  {event['type']:<32} {outcomes:<10}  {'; '.join(event['details'])}".rstrip()


@click.command()
@click.argument("archive_id")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@api.options
@click.pass_obj
def retry(root: Path, archive_id: str, watch: bool, url: str | None, token: str | None) -> None:
    """Try the failed step of an archive again."""
    registry = api.connect(root, url, token)
    registry.retry(archive_id)
    click.echo(f"archive {archive_id}")
    if watch and not follow(registry, archive_id):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("archive_id")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where to write.")
@click.option("--package", "package_id", help="Another package than the AIP, by its id.")
@api.options
@click.pass_obj
def fetch(
    root: Path, archive_id: str, package_id: str | None, output: Path, url: str | None, token: str | None
) -> None:
    """Download the AIP of an archive, or the package that --package names (a rejected SIP, say).

    What arrives is held against the registry's checksums before it gets its name.
    """
    registry = api.connect(root, url, token)
    package = _wanted(registry.archive(archive_id), package_id)
    declared = {name: value for name, value in package["checksums"].items() if name in ("sha256", "sha512")}
    hashes = {name: hashlib.new(name) for name in declared}
    part = output.with_name(f".{output.name}.part")
    try:
        size = 0
        with registry.download(package["links"]["content"]) as answer, part.open("wb") as file:
            for chunk in answer.iter_bytes(1 << 20):
                file.write(chunk)
                size += len(chunk)
                for digest in hashes.values():
                    digest.update(chunk)
        wrong = [name for name, digest in hashes.items() if digest.hexdigest() != declared[name].lower()]
        if size != package["size"] or wrong:
            reason = f"{size} of {package['size']} bytes, wrong: {', '.join(wrong) or 'size'}"
            raise click.ClickException(f"what arrived is not the package: {reason}")
        os.replace(part, output)
    except OSError as error:
        raise Unusable(f"{output} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{output}  {size} bytes, {', '.join(sorted(declared)) or 'no checksum'} as registered")


def _wanted(archive: dict[str, Any], package_id: str | None) -> dict[str, Any]:
    """The package of that id, else the newest AIP."""
    for package in reversed(archive.get("packages") or []):
        if package["id"] == package_id or (package_id is None and package["kind"] == "AIP"):
            return dict(package)
    what = f"no package {package_id}" if package_id else f"no AIP (it is {archive['state']})"
    raise click.ClickException(f"archive {archive['id']} has {what}")
