"""`perdura tape credentials`: bring in a robot certificate and check that FTS can work with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from perdura.clients.tape_x509 import Robot, from_p12, load, store
from perdura.errors import PerduraError

WARN_DAYS = 30


@click.group()
def credentials() -> None:
    """The robot certificate for FTS and the tape endpoint."""


@credentials.command(name="import")
@click.argument("p12", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--to", "directory", type=click.Path(path_type=Path, file_okay=False), default=Path(".perdura/secrets"))
@click.password_option("--password", confirmation_prompt=False, prompt="Password of the PKCS#12 file")
def import_p12(p12: Path, directory: Path, password: str) -> None:
    """Turn a PKCS#12 file (also one with RC2) into robot.pem and robot.key, mode 0600."""
    try:
        robot = from_p12(p12.read_bytes(), password.encode() or None)
        certificate, key = store(robot, directory)
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    _describe(robot)
    click.echo(f"PERDURA_TAPE_CERTIFICATE={certificate}\nPERDURA_TAPE_KEY={key}")


@credentials.command()
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False))
@click.argument("key", type=click.Path(exists=True, dir_okay=False))
def check(certificate: str, key: str) -> None:
    """Check a certificate and its key: RSA of 2048 bits or more, belonging together, not expired."""
    try:
        robot = load(certificate, key)
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    _describe(robot)


def _describe(robot: Robot) -> None:
    days = robot.days_left(datetime.now(UTC))
    click.echo(f"{robot.dn}\nvalid for {days:.0f} days")
    if days < 0:
        raise click.ClickException("the certificate has expired")
    if days < WARN_DAYS:
        click.echo(f"warning: fewer than {WARN_DAYS} days left; ask for a new one under the same name", err=True)
