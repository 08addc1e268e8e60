"""7-Zip as a separate process: unpacks an archive into a directory of ours, bounded in bytes, and in time by them."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from perdura.errors import Broken, Rejected
from perdura.storage.timed import TimeUp

SECONDS = 120
"""Time that 7-Zip is given for anything, and `BYTES_PER_SECOND` what it has to do beyond: less, and it hangs."""
BYTES_PER_SECOND = 2 * 2**20
_LOOK = 0.5


_DAMAGED = 2
"""Exit code for a damaged archive, and for a full disk."""


class TooSlow(Broken):
    """7-Zip hangs."""

    code = "seven-zip-too-slow"


class Failed(Broken):
    """7-Zip ended without saying anything of the archive: killed, out of memory, no room to write."""

    code = "seven-zip-failed"


def unpacked_size(program: str, archive: Path, near: Callable[[], bool]) -> int:
    """Bytes of all members together, by the archive's own list; raises Failed, TimeUp, TooSlow, Broken."""
    with tempfile.TemporaryFile() as listed:
        seconds = SECONDS + archive.stat().st_size / BYTES_PER_SECOND
        _run(listed, seconds, near, program, "l", "-slt", "-ba", "-sccUTF-8", str(archive))
        listed.seek(0)
        sizes = (line.removeprefix(b"Size = ").strip() for line in listed if line.startswith(b"Size = "))
        return sum(int(size) for size in sizes if size.isdigit())


def unpack(program: str, archive: Path, target: Path, limit: int, near: Callable[[], bool]) -> None:
    """Unpack everything into `target`; `near` says when the time of whoever asked is up.

    Raises Rejected when the archive is damaged or larger than `limit` bytes, TimeUp, TooSlow when the program does less
    than can be expected for the size, Failed when it ends without a word on the archive, Broken when it cannot be run.
    """
    try:
        _unpacked(program, archive, target, limit, near)
    except _Fatal as error:
        if not _is_damaged(program, archive, near):
            raise Failed(error.message) from error
        message = f"7-Zip finds the archive damaged (exit code {_DAMAGED})"
        raise Rejected(message, code="container-damaged") from error


class _Fatal(Failed):
    """The archive is damaged, or the disk is full."""


def _is_damaged(program: str, archive: Path, near: Callable[[], bool]) -> bool:
    """Whether it is the archive: testing it writes nothing."""
    try:
        _run(subprocess.DEVNULL, SECONDS + archive.stat().st_size / BYTES_PER_SECOND, near, program, "t", str(archive))
    except _Fatal:
        return True
    return False


def _unpacked(program: str, archive: Path, target: Path, limit: int, near: Callable[[], bool]) -> None:
    size = unpacked_size(program, archive, near)
    if size > limit:
        raise Rejected(f"the archive unpacks to {size} bytes, {limit} are allowed", code="scratch-too-small")
    seconds = SECONDS + size / BYTES_PER_SECOND
    # No links are made (-snl-), nothing is asked (-y), and 7-Zip itself refuses paths that leave the target.
    arguments = ("x", "-y", "-bd", "-snl-", f"-o{target}", str(archive))
    _run(subprocess.DEVNULL, seconds, near, program, *arguments)


def _run(told: IO[bytes] | int, seconds: float, near: Callable[[], bool], program: str, *arguments: str) -> None:
    """Run the program, what it says going into `told`: the list of a million members is not held."""
    end = time.monotonic() + seconds
    try:
        process = subprocess.Popen(
            [program, *arguments],
            stdout=told,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise Broken(f"{program} cannot be run: {error.strerror}", code="no-seven-zip") from error
    with process:
        try:
            code = _ended(process, end, seconds, near, program)
        except BaseException:
            process.kill()
            raise
    if code not in (0, 1):
        kind = _Fatal if code == _DAMAGED else Failed
        raise kind(f"7-Zip could not read the archive (exit code {code})")


def _ended(process: subprocess.Popen[bytes], end: float, seconds: float, near: Callable[[], bool], program: str) -> int:
    """The exit code, once there is one."""
    while True:
        try:
            return process.wait(_LOOK)
        except subprocess.TimeoutExpired:
            if near():
                raise TimeUp from None
            if time.monotonic() > end:
                raise TooSlow(f"{program} took more than {seconds:.0f} seconds") from None
