"""Brings AIPs that cannot be read by range, a .7z or a .tar.bz2, to local disk, where there is room and time for it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from perdura.clients import seven_zip
from perdura.errors import Rejected
from perdura.outcome import ArchiveView, Package
from perdura.packages.bzip2_stream import decompressed
from perdura.packages.mets_read import BadMets
from perdura.packages.sources import LocalFile, LocalTree
from perdura.ports import Ports
from perdura.steps.preserve_outsized import has_job
from perdura.steps.preserve_takeover_course import Continued, Course, NotJudged, course_of
from perdura.steps.stored_package import pinned
from perdura.storage.timed import TimeUp, timed

_NO_ROOM = "scratch-too-small"


def on_disk(package: Package, directory: Path, opened: ExitStack, ports: Ports) -> LocalTree | LocalFile | None:
    """The package as a directory, or as an uncompressed tar that `opened` closes; None when there is no room for it.

    None as well without a program for it, and when that program hangs. Raises BadMets when it is damaged, NotJudged
    when the program fails of itself, TimeUp.
    """
    try:
        if package.container == "tar.bz2":
            return opened.enter_context(LocalFile(_inflated(package, directory, ports)))
        program = ports.settings.seven_zip
        if package.container == "7z" and program is not None and package.size <= ports.settings.scratch_bytes:
            return _unpacked(program, package, directory, ports)
    except seven_zip.TooSlow:
        return None
    except seven_zip.Failed as error:
        raise NotJudged(error.message, code=error.code) from error
    except Rejected as error:
        if error.code == _NO_ROOM:
            return None
        raise BadMets(error.message, code=error.code) from error
    return None


def left_closed(archive: ArchiveView, course: Course, ports: Ports) -> Continued | None:
    """How to go on with a package that a whole invocation could not open: as it is. None when another may have more."""
    if has_job(ports) or course != course_of(archive):
        return None
    return Continued(replace(course, closed=True))


def _inflated(package: Package, directory: Path, ports: Ports) -> Path:
    path, room = directory / "aip.tar", ports.settings.scratch_bytes
    store = timed(ports.store, ports.deadline.near)
    with path.open("wb") as file:
        for piece in decompressed(store.stream(pinned(package))):
            if ports.deadline.near():
                raise TimeUp
            room -= len(piece)
            if room < 0:
                raise Rejected("the archive is larger than the scratch space", code=_NO_ROOM)
            file.write(piece)
    return path


def _unpacked(program: str, package: Package, directory: Path, ports: Ports) -> LocalTree:
    archive, target = directory / "aip.7z", directory / "aip"
    target.mkdir()
    store = timed(ports.store, ports.deadline.near)
    with archive.open("wb") as file:
        for chunk in store.stream(pinned(package)):
            file.write(chunk)
    room = ports.settings.scratch_bytes - package.size
    seven_zip.unpack(program, archive, target, room, ports.deadline.near)
    archive.unlink()
    return LocalTree(target)
