"""A folder of the machine that harvests, below a root that the operator allowed.

Links are never followed, whatever they point to; they, other special files and empty folders are listed as skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from perdura.clients.http import Stream
from perdura.errors import Rejected
from perdura.settings import Settings
from perdura.sources import ranges
from perdura.sources.plan import Capture, Plan, Skipped, UpstreamFile, planned

CHUNK = 1 << 18
"""Bytes read at once: what waits to be hashed then stays in the processor's cache."""

FILES = 1_000_000
"""Most files of one folder."""


def allowed(path: str, settings: Settings) -> Path:
    """The folder, resolved; raises Rejected (`destination-refused`) unless it lies below an allowed root."""
    roots = [Path(root).resolve() for root in (settings.harvest_local_roots or "").split(os.pathsep) if root]
    folder = Path(path).resolve()
    if not any(folder.is_relative_to(root) for root in roots):
        raise Rejected("This folder is not below a directory that may be harvested.", code="destination-refused")
    if not folder.is_dir():
        raise Rejected("There is no such folder.", code="upstream-not-found")
    return folder


def plan(folder: Path, source: str) -> Plan:
    """Plan every regular file below the folder, in the order of their names. No file is read for it.

    Raises Rejected (`too-many-files`, `folder-unreadable`).
    """
    files: list[UpstreamFile] = []
    skipped: list[Skipped] = []
    listing = []
    for name, found in _walk(folder):
        if isinstance(found, str):
            skipped.append(Skipped(name, "", found))
            continue
        if len(files) >= FILES:
            raise Rejected(f"The folder has more than {FILES} files.", code="too-many-files")
        listing.append({"path": name, "size": found.st_size, "modified": _time(found.st_mtime)})
        files.append(UpstreamFile(key=name, url="file:" + quote(name, errors="surrogateescape"), size=found.st_size))
    body = json.dumps(listing, indent=1).encode()
    digest = hashlib.sha256(body).hexdigest()
    address = f"file:{quote(folder.name)}"
    return Plan(
        source=source,
        recid=hashlib.sha256(os.fsencode(folder)).hexdigest()[:32],
        url=address,
        title=folder.name.encode("utf-8", "replace").decode(),
        captures=(Capture("listing.json", address, 200, (), datetime.now(UTC), body),),
        files=planned(files),
        revision=digest,
        skipped=tuple(skipped),
    )


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result | str]]:
    """Everything below the folder in the order of its names, however deep it lies."""
    open_folders = [iter(_entries(folder, ""))]
    while open_folders:
        name, entry = next(open_folders[-1], (None, None))
        if name is None or entry is None:
            open_folders.pop()
        elif entry.is_symlink():
            yield name, "a symbolic link"
        elif entry.is_dir(follow_symlinks=False):
            entries = _entries(entry, name)
            if not entries:
                yield name, "an empty folder"
            open_folders.append(iter(entries))
        elif entry.is_file(follow_symlinks=False):
            yield name, entry.stat(follow_symlinks=False)
        else:
            yield name, "not a regular file"


def _entries(folder: os.PathLike[str], below: str) -> list[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise Rejected(
            f"The folder {below or '.'} cannot be read: {error.strerror}.", code="folder-unreadable"
        ) from error
    return [(f"{below}/{entry.name}" if below else entry.name, entry) for entry in entries]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


class FolderOrigin:
    """Opens the files of one folder by the addresses of its plan."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        total_seconds: float | None = None,  # noqa: ARG002 - the interface of Origin
        decode: bool = True,  # noqa: ARG002
    ) -> Iterator[Stream]:
        """Open a file without following links, as HTTP would with `Range` and `If-Range`; status 404 when it is gone,
        403 when it may not be read."""
        name = unquote(url.removeprefix("file:"), errors="surrogateescape")
        try:
            descriptor = self._open(name)
        except (FileNotFoundError, NotADirectoryError):
            yield Stream(url, 404, (), iter(()))
            return
        except OSError:
            yield Stream(url, 403, (), iter(()))
            return
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            found = os.fstat(descriptor)
            ranged = ranges.answer(headers, f'"{found.st_ino:x}-{found.st_mtime_ns:x}"', found.st_size)
            file.seek(ranged.first)
            yield Stream(url, ranged.status, ranged.headers, iter(lambda: file.read(CHUNK), b""))

    def _open(self, name: str) -> int:
        """Open component by component, so that no folder on the way can be swapped for a link."""
        current = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            *folders, last = name.split("/")
            for part in folders:
                following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                os.close(current)
                current = following
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=current)
        finally:
            os.close(current)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise PermissionError(name)
        return descriptor
