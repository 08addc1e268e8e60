"""`perdura tape credentials`: bring in a robot certificate and check that FTS can work with it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import click

from perdura.clients.tape_checks import check_robot
from perdura.clients.tape_x509 import Robot, from_p12, store
from perdura.errors import PerduraError
from perdura.local.state import open_home


@click.group()
def credentials() -> None:
    """The robot certificate for FTS and the tape endpoint."""


@credentials.command(name="import")
@click.argument("p12", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where robot.pem and robot.key go. Default: the secrets of the stack.",
)
@click.option(
    "--password-file", type=click.File(), default=None, help="Read the password from here (-: standard input)."
)
@click.pass_obj
def import_p12(root: Path, p12: Path, directory: Path | None, password_file: TextIO | None) -> None:
    """Turn a PKCS#12 file (also one with RC2) into robot.pem and robot.key, mode 0600.

    One that FTS cannot work with is refused, and what was there before stays. The password is
    asked for at the terminal, or read from a file; a command line can be seen by others.
    """
    if password_file is None:
        password = click.prompt("Password of the PKCS#12 file", hide_input=True, default="", show_default=False)
    else:
        password = password_file.readline().rstrip("\n")
    directory = directory or open_home(root).root / "secrets"
    try:
        robot = from_p12(p12.read_bytes(), password.encode() or None)
        _describe(robot)
        certificate, key = store(robot, directory)
    except PerduraError as error:
        raise click.ClickException(error.message) from error
    except OSError as error:
        raise click.ClickException(f"cannot write to {directory}: {error.strerror}") from error
    click.echo(f"PERDURA_TAPE_CERTIFICATE={certificate}\nPERDURA_TAPE_KEY={key}")


@credentials.command()
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False), required=False)
@click.argument("key", type=click.Path(exists=True, dir_okay=False), required=False)
def check(certificate: str | None, key: str | None) -> None:
    """Check a certificate and its key, and what FTS and the tape endpoint say of us.

    The certificate has to be RSA of 2048 bits or more, belong to its key, and last. Without arguments those that the
    settings name are taken. FTS and the endpoint are asked where PERDURA_TAPE_FTS_URL (or FTS_INSTANCE) names one.
    """
    from perdura.clients.tape_checks import check_offline, check_online
    from perdura.settings import Settings

    settings = Settings()  # type: ignore[call-arg]
    if certificate or key:
        settings = settings.model_copy(update={"tape_certificate": certificate, "tape_key": key, "tape_token": None})
    found = [*check_offline(settings), *(check_online(settings) if settings.tape_fts_url else ())]
    for each in found:
        click.echo(f"{each.verdict:<8} {each.subject:<18} {each.found}")
        if each.remedy:
            click.echo(f"{'':<27} {each.remedy}")
    if any(each.verdict == "failure" for each in found):
        raise click.exceptions.Exit(1)


def _describe(robot: Robot) -> None:
    found = check_robot(robot, datetime.now(UTC))
    click.echo(found.found)
    if found.verdict == "failure":
        raise click.ClickException(found.remedy)
    if found.remedy:
        click.echo(f"warning: {found.remedy}", err=True)
