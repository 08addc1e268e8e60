"""The command `deposit`: hand in a package by a presigned upload."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perdura.commands import api, parts, sending
from perdura.commands.sending import Upload
from perdura.commands.timeline import follow

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


LARGE = 64 * 2**20
"""Bytes above which a package is sent in parts."""


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--bag", is_flag=True, help="Make a bag of a folder that is none.")
@click.option("--title", help="What to call it.")
@click.option("--resume", metavar="DEPOSIT", help="Go on with a deposit whose sending broke off.")
@click.option("--watch", is_flag=True, help="Stay until it is preserved.")
@click.option("--engine", type=click.Choice(["builtin", "archivematica", "a3m"]), help="What is to make the AIP.")
@click.option("--profile", type=click.Choice(["perdura", "eark"]), help="Layout of the AIP.")
@click.option("--instance", help="Which Archivematica is to make it.")
@api.options
@click.pass_obj
def deposit(
    root: Path,
    path: Path,
    bag: bool,
    title: str | None,
    resume: str | None,
    watch: bool,
    engine: str | None,
    profile: str | None,
    instance: str | None,
    url: str | None,
    token: str | None,
) -> None:
    """Hand in PATH: a bag as zip, tar or tar.gz, or as a folder.

    What is large is sent in parts: when sending breaks off, the same command with --resume goes on where it stopped.
    A file that is here already is not sent again.

    With --watch the exit status is 0 when it was preserved, 1 when it was rejected or failed; all reasons are shown.
    """
    registry = api.connect(root, url, token)
    wished = {"engine": engine, "profile": profile, "instance": instance}
    preserve = {name: value for name, value in wished.items() if value}
    archive = hand_in(registry, path, bag=bag, title=title, resume=resume, preserve=preserve)
    click.echo(f"archive {archive}")
    if watch and not follow(registry, archive):
        raise click.exceptions.Exit(1)


def hand_in(
    registry: api.Api,
    path: Path,
    *,
    bag: bool,
    title: str | None,
    resume: str | None = None,
    preserve: Mapping[str, str] | None = None,
) -> str:
    """Announce a deposit, upload it with progress bars, and say that it is complete; gives back the Archive's id.

    `resume` names a deposit that was announced before. Raises Refused, Unusable, or click.UsageError for what cannot
    be a package.
    """
    with _progress() as progress:
        upload = _of_folder(path, bag, progress) if path.is_dir() else _of_file(path, progress)
        answer = _resumed(registry, resume, upload) if resume else _announced(registry, upload, title, preserve or {})
        if answer.get("existing"):
            click.echo("this file is here already", err=True)
            return str(answer["archive"])
        task = progress.add_task("sending", total=upload.size)
        if answer.get("upload") is None:
            _in_parts(registry, answer, upload, lambda count: progress.update(task, advance=count))
        else:
            _at_once(registry, answer["upload"], upload, progress, task)
    registry.post(f"/deposits/{answer['id']}/complete")
    return str(answer["archive"])


def _announced(registry: api.Api, upload: Upload, title: str | None, preserve: Mapping[str, str]) -> dict[str, Any]:
    request: dict[str, Any] = {"filename": upload.filename, "size": upload.size}
    request |= {"sha256": upload.sha256} if upload.sha256 else {}
    request |= {"title": title} if title else {}
    request |= {"preserve": dict(preserve)} if preserve else {}
    request |= {"parts": True} if upload.size > LARGE else {}
    return registry.post("/deposits", request)


def _resumed(registry: api.Api, deposit: str, upload: Upload) -> dict[str, Any]:
    found = registry.get(f"/deposits/{deposit}")
    parts.check_resumed(found, upload)
    return {"id": found["id"], "archive": found["archive"], "upload": None}


def _in_parts(registry: api.Api, answer: dict[str, Any], upload: Upload, noted: Callable[[int], None]) -> None:
    try:
        parts.send(registry, f"/deposits/{answer['id']}/parts", upload, noted)
    except (click.ClickException, KeyboardInterrupt):
        click.echo(f"to go on: the same command with --resume {answer['id']}", err=True)
        raise


def _at_once(registry: api.Api, target: dict[str, Any], upload: Upload, progress: Progress, task: TaskID) -> None:
    def body() -> Iterator[bytes]:
        progress.reset(task)
        for chunk in upload.read(0, upload.size):
            yield chunk
            progress.update(task, advance=len(chunk))

    registry.upload(target["url"], target.get("headers") or {}, upload.size, body)


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
