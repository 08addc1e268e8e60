"""`perdura tape`: run the local tape library and look at it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from pathlib import Path

import click

from perdura.local.state import open_home
from perdura.local.tape.credentials_cli import credentials

PORT = click.IntRange(0, 65535)
COUNT = click.IntRange(1)
AMOUNT = click.FloatRange(0, 1e15)
state_option = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), default=None,
    help="Directory of the library: disk buffer, tapes and catalogue. Default: that of the stack.",
)  # fmt: skip
tls_option = click.option(
    "--tls-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), default=None,
    help="TLS with host.pem and host.key; clients signed by ca.pem are known by their certificate.",
)  # fmt: skip


@click.group()
def tape() -> None:
    """Tape: the local library (an FTS3 server and a tape endpoint), credentials, and the jobs of the destination."""


@tape.command()
@click.option("--fts-port", type=PORT, default=0, help="Port of the FTS REST server (0: any free one).")
@click.option("--endpoint-port", type=PORT, default=0, help="Port of the tape endpoint (0: any free one).")
@tls_option
@state_option
@click.option("--drives", type=click.IntRange(1, 1000), default=2, show_default=True, help="Number of drives.")
@click.option("--mount-seconds", type=AMOUNT, default=0.08, show_default=True, help="Time to mount a tape.")
@click.option("--seek-seconds", type=AMOUNT, default=0.02, show_default=True, help="Time to find a position.")
@click.option("--drive-rate", type=AMOUNT, default=400e6, show_default=True, help="Bytes per second; 0: unlimited.")
@click.option("--buffer-bytes", type=COUNT, default=100 * 10**9, show_default=True, help="Size of the disk buffer.")
@click.option("--keep-seconds", type=AMOUNT, default=2.0, show_default=True, help="Time on disk after archiving.")
@click.pass_obj
def serve(
    root: Path, fts_port: int, endpoint_port: int, tls_dir: Path | None, state: Path | None, drives: int,
    mount_seconds: float, seek_seconds: float, drive_rate: float, buffer_bytes: int, keep_seconds: float,
) -> None:  # fmt: skip
    """Run the library until interrupted. PERDURA_TAPE_TOKEN holds the bearer token that opens it."""
    from perdura.local.tape.library import Model
    from perdura.local.tape.server import TapeServer, note_endpoints

    state = state or open_home(root).data("tape")
    token = os.environ.get("PERDURA_TAPE_TOKEN")
    if not token and tls_dir is None:
        raise click.ClickException("set PERDURA_TAPE_TOKEN, or give --tls-dir for client certificates")
    model = Model(
        drives=drives, mount=mount_seconds, seek=seek_seconds, rate=drive_rate, buffer=buffer_bytes, keep=keep_seconds
    )
    try:
        server = TapeServer(
            state, token=token, fts_port=fts_port, endpoint_port=endpoint_port, tls_directory=tls_dir, model=model
        )
    except (OSError, sqlite3.DatabaseError) as error:
        raise click.ClickException(f"cannot start: {error}") from error
    server.start()
    note_endpoints(state, server)
    click.echo(f"FTS {server.fts_url}  tape endpoint {server.endpoint_url}  state {state}")
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    server.stop()


@tape.command()
@state_option
@tls_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def status(root: Path, state: Path | None, tls_dir: Path | None, as_json: bool) -> None:
    """Show drives, queue, volumes and residency of a running library.

    The token is that of the stack, or PERDURA_TAPE_TOKEN; with `--tls-dir` its host certificate.
    """
    from perdura.local.tape.server import asked_for_status

    home = open_home(root)
    state = state or home.data("tape")
    token = os.environ.get("PERDURA_TAPE_TOKEN") or home.known_secret("tape-token") or ""
    try:
        found = asked_for_status(state, token, tls_dir)
    except (OSError, ValueError, KeyError) as error:
        raise click.ClickException(f"no running tape library in {state}: {error}") from error
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for drive in found["drives"]:
        doing = f"working on {drive['working']}" if drive["working"] else "idle"
        click.echo(f"{drive['name']}: {drive['volume'] or 'empty'}, {doing}, {drive['mounts']} mounts")
    click.echo(f"queue: {found['queue']['archive']} to archive, {found['queue']['recall']} to recall")
    for volume in found["volumes"]:
        click.echo(f"volume {volume['name']}: {volume['files']} files, {volume['bytes']} bytes")
    buffer = found["buffer"]
    click.echo(f"buffer: {buffer['used']} of {buffer['size']} bytes used")
    for place, count in sorted(found["residency"].items()):
        click.echo(f"{place}: {count} files")
    for name, count in sorted(found["transfers"].items()):
        click.echo(f"transfers {name}: {count}")


tape.add_command(credentials)
