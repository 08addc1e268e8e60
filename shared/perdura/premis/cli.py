"""`perdura log`: check the sealed PREMIS log, hand it over, seal it, import and export events."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from perdura.database import connecting
from perdura.errors import PerduraError
from perdura.premis import bundle, seal
from perdura.premis.checkpoint import Verifier
from perdura.premis.verify import Report
from perdura.premis.verify_stored import verify_database
from perdura.settings import settings


@click.group("log")
@click.option("--database-url", envvar="PERDURA_DATABASE_URL", help="SQLAlchemy URL; default: of the settings.")
@click.pass_context
def log(context: click.Context, database_url: str | None) -> None:
    """Check the sealed PREMIS log."""
    context.obj = database_url or _local_url(context)


@log.command()
@click.option("--offline", type=click.Path(exists=True, file_okay=False, path_type=Path), help="An exported log.")
@click.option("--key", "keys", multiple=True, help="Verifier key to trust instead of those that come with the log.")
@click.option(
    "--checkpoint", "notes", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint kept elsewhere: the log must contain it.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_obj
def verify(url: str, offline: Path | None, keys: tuple[str, ...], notes: tuple[Path, ...], as_json: bool) -> None:
    """Find any changed, removed, reordered or back-dated event, and name it. Exit status 1 if there is one."""
    try:
        verifiers = [Verifier.parse(key) for key in keys]
        if offline is not None:
            report = bundle.verify(offline, verifiers)
        else:
            with _engine(url).connect() as connection:
                texts = [path.read_text("utf-8") for path in notes]
                report = verify_database(connection, notes=texts, verifiers=verifiers)
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    except SQLAlchemyError as error:
        raise click.ClickException(f"the database cannot be read: {type(error).__name__}") from error
    _show(report, as_json)
    if not report.sound:
        sys.exit(1)


@log.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_obj
def export(url: str, folder: Path) -> None:
    """Write the sealed log into a folder that `verify --offline` and docs/verify_log.py can check."""
    try:
        with _engine(url).connect() as connection:
            written = bundle.write(connection, folder)
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    except (SQLAlchemyError, OSError) as error:
        raise click.ClickException(f"the log cannot be exported: {type(error).__name__}") from error
    click.echo(f"{written} leaves written to {folder}")


@log.command()
@click.pass_obj
def keys(url: str) -> None:
    """List the public keys that signed checkpoints, with the time of their first use."""
    try:
        with _engine(url).connect() as connection:
            for verifier, used in seal.verifiers(connection):
                click.echo(f"{used:%Y-%m-%dT%H:%M:%SZ}  {verifier.text}")
    except SQLAlchemyError as error:
        raise click.ClickException(f"the database cannot be read: {type(error).__name__}") from error


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        shown = {"sound": report.sound, "leaves": report.leaves, "checkpoints": report.checkpoints}
        click.echo(json.dumps({**shown, "waiting": report.waiting, "findings": report.findings}, indent=1))
        return
    for finding in report.findings:
        click.echo(finding, err=True)
    click.echo(report.sentence)


def _engine(url: str) -> Engine:
    return connecting(url, poolclass=NullPool)


def _local_url(context: click.Context) -> str:
    """The database of the local stack in the command's home if there is one, else that of the settings."""
    home = context.find_root().obj
    state, secret = (home / "state.json", home / "secrets/database") if isinstance(home, Path) else (None, None)
    if state is None or secret is None or not (state.exists() and secret.exists()):
        return settings().database_url.get_secret_value()
    port = json.loads(state.read_text("utf-8"))["ports"]["postgres"]
    return f"postgresql+pg8000://perdura:{secret.read_text('ascii').strip()}@127.0.0.1:{port}/perdura"
