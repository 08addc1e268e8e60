"""What a deposit sends: an archive as it is, or a folder as a tar that is made while it is sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click

from perdura.client import Upload
from perdura.errors import PerduraError
from perdura.packages.make import plan_bag, tar_entries
from perdura.packages.rules import PackageRejected
from perdura.packages.sources import LocalFile, LocalTree
from perdura.packages.tar_ranges import Entry, RangedTar

Noted = Callable[[int], None]
"""Told of bytes that were hashed."""

_CHUNK = 1 << 20


def archive_to_send(path: Path, noted: Noted) -> Upload:
    """A file as it is, hashed first so that the store's copy can be held against it."""
    with _told():
        file = LocalFile(path)
        if file.size == 0:
            raise click.UsageError(f"{path} is empty")
        digest = hashlib.sha256()
        for chunk in file.stream(0, file.size):
            digest.update(chunk)
            noted(len(chunk))
    return Upload(path.name, file.size, partial(_read_file, file), digest.hexdigest())


def _read_file(file: LocalFile, offset: int, length: int) -> Iterator[bytes]:
    with _told():
        for chunk in file.stream(offset, length, _CHUNK):
            yield bytes(chunk)


def is_bag(folder: Path) -> bool:
    """Whether the folder says of itself that it is a bag (RFC 8493 2.1.1)."""
    return (folder / "bagit.txt").is_file()


def bag_to_send(folder: Path) -> Upload:
    """A folder that is a bag, as a tar; the same folder gives the same bytes.

    Raises click.UsageError at a symbolic link or anything else that is no file: a package must stand on its own.
    """
    name = _name(folder)
    with _told():
        source = LocalTree(folder)
        entries = [
            Entry(f"{name}/{leaf.path}", leaf.size, partial(source.stream, leaf.path)) for leaf in source.leaves()
        ]
    return _tar(name, entries)


def folder_to_send(folder: Path, noted: Noted) -> Upload:
    """Any other folder as a bag in a tar: its files are the payload, hashed once before they are sent.

    Raises click.UsageError as `bag_to_send`, and for a folder without files.
    """
    name = _name(folder)
    done = 0

    def progress(now: int, _: int) -> None:
        nonlocal done
        noted(now - done)
        done = now

    with _told():
        source = LocalTree(folder)
        if not any(not leaf.path.endswith("/") for leaf in source.leaves()):
            raise click.UsageError(f"{folder} holds no file")
        plan = plan_bag(source, progress=progress, base=name)
        return _tar(name, tar_entries(plan, source, name))


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; raises click.UsageError as `bag_to_send`."""
    with _told():
        return sum(leaf.size for leaf in LocalTree(folder).leaves())


def _name(folder: Path) -> str:
    return folder.resolve().name or "package"


def _tar(name: str, entries: list[Entry]) -> Upload:
    tar = RangedTar(entries)

    def read(offset: int, length: int) -> Iterator[bytes]:
        with _told():
            for chunk in tar.read(offset, length):
                yield bytes(chunk)

    return Upload(f"{name}.tar", tar.size, read)


class _told:
    """Turns what the sources raise into what a command says."""

    def __enter__(self) -> None:
        return

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, PackageRejected):
            raise click.UsageError(f"{error.path}: {error.message}" if error.path else error.message) from error
        if isinstance(error, PerduraError):
            raise click.ClickException(error.message) from error
