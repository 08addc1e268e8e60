"""Backup and restore of a deployment, and the registry rebuilt from the objects alone (docs/operations.md)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from uuid import UUID

import click
from sqlalchemy import Engine, make_url
from sqlalchemy.pool import NullPool

from perdura.commands.stack_settings import stack_settings
from perdura.database import connecting
from perdura.errors import Broken
from perdura.premis.checkpoint import Verifier
from perdura.settings import Settings

DUMP = "database.dump"


@click.group()
def registry() -> None:
    """The registry as a whole."""


@registry.command()
@click.option("--key", "keys", multiple=True, help="Verifier key of the log to trust besides our own.")
@click.option("--open", "public", is_flag=True, help="Open at once what no AIP calls restricted; see below.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def rebuild(root: Path, keys: tuple[str, ...], public: bool, as_json: bool) -> None:
    """Put back what the registry lacks, from the objects alone, while no function runs.

    The log is put back from its bucket and held against every signed head; Archives from their packages and the log.
    What is known stays as it is, so that a restored dump is completed. What cannot be known is said.

    No object tells what a person restricted after its AIP was made, so every Archive comes back restricted until
    `perdura registry open`; with --open only those whose AIP says so, and those that have no AIP.
    """
    from perdura.registry.migrate import bring_up
    from perdura.runtime.rebuild import UNKNOWABLE
    from perdura.runtime.rebuild import rebuild as run
    from perdura.storage.s3 import S3Store

    settings = stack_settings(root)
    engine = _engine(settings)
    bring_up(settings)
    done = run(engine, S3Store(settings), settings, [Verifier.parse(key) for key in keys], _tell, public=public)
    if as_json:
        fields = ("archives", "known", "completed", "packages", "copies", "events", "asked", "closed", "findings")
        told = {name: getattr(done, name) for name in fields}
        log = {name: getattr(done.log, name) for name in ("leaves", "checkpoints", "unproved", "found_keys")}
        click.echo(json.dumps({**told, "log": log, "unknowable": UNKNOWABLE}, indent=1))
        return
    click.echo(
        f"{done.archives} Archives rebuilt ({done.known} were known, {done.completed} of them completed) with "
        f"{done.packages} packages and {done.copies} copies; "
        f"{done.events} events taken from AIPs; {done.asked} steps asked for again."
    )
    if done.closed:
        click.echo(f"{done.closed} Archives are restricted until you open them: perdura registry open")
    if done.log.unproved:
        click.echo(f"{done.log.unproved} events of the log are covered by no signed head; they were taken unproved.")
    for key in done.log.found_keys:
        click.echo(f"Only the bucket itself vouches for this key of the log: {key}")
    for finding in done.findings:
        click.echo(finding, err=True)
    click.echo("What no object tells, and only a backup of the database can bring back:")
    for each in UNKNOWABLE:
        click.echo(f"  {each}")


@registry.command("open")
@click.argument("archives", type=click.UUID, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that the rebuild restricted.")
@click.pass_obj
def open_archives(root: Path, archives: tuple[UUID, ...], everything: bool) -> None:
    """Lift the restriction that the rebuild put on ARCHIVES; what an AIP calls restricted stays so.

    A publication that was proved is visible again at once; one that was withheld meanwhile is run again
    by `POST /archives/ID/run` with the step `publish`.
    """
    if bool(archives) is everything:
        raise click.UsageError("Name Archives, or say --all.")
    from perdura.registry.rebuilt import opened

    with _engine(stack_settings(root)).begin() as connection:
        found = opened(connection, None if everything else archives)
    click.echo(f"{len(found)} Archives opened.")
    for archive in sorted(set(archives) - set(found)):
        click.echo(f"{archive} is not restricted by a rebuild; left as it is.", err=True)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def backup(root: Path, folder: Path) -> None:
    """Copy database and objects into FOLDER; into the same folder again, only what changed.

    The database is dumped first: every object it names is then in the copy. It may run while the platform works.
    """
    from perdura.storage.copies import copy_out
    from perdura.storage.s3 import S3Store

    settings = stack_settings(root)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = folder / f"{DUMP}.new"
    _postgres("pg_dump", settings, "--format=custom", f"--file={made.resolve()}")
    made.replace(folder / DUMP)
    _tell("database dumped")
    number = copy_out(S3Store(settings), _buckets(settings), folder, _tell)
    click.echo(f"database and {number} objects are in {folder}")


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
def restore(root: Path, folder: Path) -> None:
    """Put a backup from FOLDER back into an empty database and store, while no function runs.

    Every object is verified. Then `perdura registry rebuild` completes what was kept after the backup.
    """
    from perdura.commands.emptied import empty
    from perdura.registry.migrate import bring_up
    from perdura.storage.buckets import create
    from perdura.storage.copies import copy_in
    from perdura.storage.s3 import S3Store

    settings = stack_settings(root)
    engine = _engine(settings)
    empty(engine)
    create(settings)
    number = copy_in(S3Store(settings), folder, _tell)
    _postgres("pg_restore", settings, "--no-owner", "--no-acl", "--exit-on-error", str((folder / DUMP).resolve()))
    bring_up(settings)
    click.echo(f"database and {number} objects are back; now: perdura registry rebuild")


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _engine(settings: Settings) -> Engine:
    return connecting(_owner(settings), poolclass=NullPool)


def _owner(settings: Settings) -> str:
    """The URL of the owner of the tables: dumping, emptying and putting back is nothing that functions may do."""
    return (settings.database_owner_url or settings.database_url).get_secret_value()


def _buckets(settings: Settings) -> list[str]:
    names = (settings.bucket_incoming, settings.bucket_sips, settings.bucket_aips, settings.bucket_dips)
    return list(dict.fromkeys((*names, settings.bucket_log)))


def _postgres(program: str, settings: Settings, *arguments: str) -> None:
    """Run a program of PostgreSQL on the database of the settings; the password is in nobody's process list."""
    url = make_url(_owner(settings))
    path = _program(program)
    where = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGDATABASE": url.database,
             "PGPASSWORD": url.password}  # fmt: skip
    environment = {name: str(value) for name, value in where.items() if value is not None}
    extra = ("--dbname", str(url.database)) if program == "pg_restore" else ()
    done = subprocess.run(
        [path, "--no-password", *extra, *arguments],
        env={**{name: os.environ[name] for name in ("PATH", "HOME", "PGSSLMODE") if name in os.environ}, **environment},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise Broken(f"{program} failed: {done.stderr.strip()[-500:]}")


def _program(name: str) -> str:
    """A program of PostgreSQL: the newest installed with the local stack's server, else that on the path."""
    from perdura.local.postgres import find_binaries

    try:
        return str(find_binaries().program(name))
    except Broken:
        found = shutil.which(name)
        if found is None:
            raise Broken(f"{name} is not installed; it comes with PostgreSQL's client programs.") from None
        return found
