"""The command `deposit`: hand in a package by a presigned upload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from perdura.commands import api, sending
from perdura.commands.sending import Upload
from perdura.commands.timeline import follow

if TYPE_CHECKING:
    from rich.progress import Progress


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--bag", is_flag=True, help="Make a bag of a folder that is none.")
@click.option("--title", help="What to call it.")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@api.options
@click.pass_obj
def deposit(
    root: Path, path: Path, bag: bool, title: str | None, watch: bool, url: str | None, token: str | None
) -> None:
    """Hand in PATH: a bag as zip, tar or tar.gz, or as a folder.

    With --watch the exit status is 0 when it was preserved, 1 when it was rejected or failed; all reasons are shown.
    """
    registry = api.connect(root, url, token)
    archive = hand_in(registry, path, bag=bag, title=title)
    click.echo(f"archive {archive}")
    if watch and not follow(registry, archive):
        raise click.exceptions.Exit(1)


def hand_in(registry: api.Api, path: Path, *, bag: bool, title: str | None) -> str:
    """Announce a deposit, upload it with progress bars, and say that it is complete; gives back the Archive's id.

    Raises Refused, Unusable, or click.UsageError for what cannot be a package.
    """
    with _progress() as progress:
        upload = _of_folder(path, bag, progress) if path.is_dir() else _of_file(path, progress)
        request = {"filename": upload.filename, "size": upload.size}
        request |= {"sha256": upload.sha256} if upload.sha256 else {}
        request |= {"title": title} if title else {}
        answer = registry.post("/deposits", request)
        target = answer["upload"]
        task = progress.add_task("sending", total=upload.size)

        def body() -> Iterator[bytes]:
            progress.reset(task)
            for chunk in upload.read(0, upload.size):
                yield chunk
                progress.update(task, advance=len(chunk))

        registry.upload(target["url"], target.get("headers") or {}, upload.size, body)
    registry.post(f"/deposits/{answer['id']}/complete")
    return str(answer["archive"])


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
