"""The command `deposit`: hand in a package by a presigned upload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdura.client import Client, Upload
from perdura.client.registry import Document
from perdura.commands import api, sending
from perdura.commands.failures import Unusable
from perdura.commands.tables import as_json_option
from perdura.commands.timeline import begun
from perdura.errors import PerduraError

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--bag", is_flag=True, help="Make a bag of a folder that is none.")
@click.option("--title", help="What to call it.")
@click.option("--resume", metavar="DEPOSIT", help="Go on with a deposit whose sending broke off.")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@click.option("--engine", type=click.Choice(["builtin", "archivematica", "a3m"]), help="What is to make the AIP.")
@click.option("--profile", type=click.Choice(["perdura", "eark"]), help="Layout of the AIP.")
@click.option("--instance", help="Which Archivematica is to make it.")
@as_json_option
@api.connected
def deposit(
    registry: Client,
    path: Path,
    bag: bool,
    title: str | None,
    resume: str | None,
    watch: bool,
    engine: str | None,
    profile: str | None,
    instance: str | None,
    as_json: bool,
) -> None:
    """Hand in PATH: a bag as zip, tar or tar.gz, or as a folder.

    What is large is sent in parts: when sending breaks off, the same command with --resume goes on where it stopped.
    A file that is here already is not sent again.

    With --watch the exit status is 0 when it was preserved, 1 when it was rejected or failed; all reasons are shown.
    """
    wished = {"engine": engine, "profile": profile, "instance": instance}
    preserve = {name: value for name, value in wished.items() if value}
    archive = hand_in(registry, path, bag=bag, title=title, resume=resume, preserve=preserve)
    begun(registry, archive, {"archive": archive}, watch=watch, as_json=as_json)


def hand_in(
    registry: Client,
    path: Path,
    *,
    bag: bool,
    title: str | None,
    resume: str | None = None,
    preserve: Mapping[str, str] | None = None,
) -> str:
    """Announce a deposit, upload it with progress bars, and say that it is complete; gives back the Archive's id.

    `resume` names a deposit that was announced before. Raises Refused, Unreachable, Unusable, or click.UsageError for
    what cannot be a package.
    """
    with _progress() as progress:
        upload = _of_folder(path, bag, progress) if path.is_dir() else _of_file(path, progress)
        task = progress.add_task("sending", total=upload.size)
        sent: list[Document] = []
        try:
            return registry.deposit(
                upload, title=title, preserve=preserve, resume=resume, begun=lambda answer: sent.append(_told(answer)),
                noted=lambda count: progress.update(task, advance=count),
            )  # fmt: skip
        except ValueError as error:
            raise Unusable(str(error)) from error
        except (PerduraError, click.ClickException, KeyboardInterrupt):
            if sent and not sent[0].get("existing") and sent[0].get("upload") is None:
                click.echo(f"to go on: the same command with --resume {sent[0]['id']}", err=True)
            raise


def _told(answer: Document) -> Document:
    if answer.get("existing"):
        click.echo("this file is here already", err=True)
    return answer


def _of_file(path: Path, progress: Progress) -> Upload:
    task = progress.add_task("hashing", total=path.stat().st_size)
    return sending.archive_to_send(path, lambda count: progress.update(task, advance=count))


def _of_folder(path: Path, bag: bool, progress: Progress) -> Upload:
    if sending.is_bag(path):
        if bag:
            raise click.UsageError(f"{path} is a bag already; leave out --bag")
        return sending.bag_to_send(path)
    if not bag:
        raise click.UsageError(f"{path} is no bag (it has no bagit.txt); add --bag to make one of it while sending")
    task = progress.add_task("hashing", total=sending.size_of(path))
    return sending.folder_to_send(path, lambda count: progress.update(task, advance=count))


@contextmanager
def _progress() -> Iterator[Progress]:
    """Progress bars on the terminal's error output; none where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress
