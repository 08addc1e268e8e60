"""7-Zip as a separate process: unpacks an archive into a directory of ours, bounded in size and time."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import IO

from perdura.errors import Broken, Rejected

SECONDS = 480


def unpacked_size(program: str, archive: Path) -> int:
    """Bytes of all members together, by the archive's own list; raises Rejected for one that cannot be read."""
    with tempfile.TemporaryFile() as listed:
        _run(listed, program, "l", "-slt", "-ba", "-sccUTF-8", str(archive))
        listed.seek(0)
        sizes = (line.removeprefix(b"Size = ").strip() for line in listed if line.startswith(b"Size = "))
        return sum(int(size) for size in sizes if size.isdigit())


def unpack(program: str, archive: Path, target: Path, limit: int) -> None:
    """Unpack everything into `target`.

    Raises Rejected when the archive is damaged or larger than `limit` bytes, Broken when the program cannot be run.
    """
    size = unpacked_size(program, archive)
    if size > limit:
        raise Rejected(f"the archive unpacks to {size} bytes, {limit} are allowed", code="scratch-too-small")
    # No links are made (-snl-), nothing is asked (-y), and 7-Zip itself refuses paths that leave the target.
    _run(subprocess.DEVNULL, program, "x", "-y", "-bd", "-snl-", f"-o{target}", str(archive))


def _run(told: IO[bytes] | int, program: str, *arguments: str) -> None:
    """Run the program, what it says going into `told`: the list of a million members is not held."""
    try:
        done = subprocess.run(
            [program, *arguments],
            stdout=told,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=SECONDS,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise Broken(f"{program} cannot be run: {error.strerror}", code="no-seven-zip") from error
    except subprocess.TimeoutExpired as error:
        raise Broken(f"{program} took more than {SECONDS} seconds", code="seven-zip-too-slow") from error
    if done.returncode not in (0, 1):
        raise Rejected(f"7-Zip finds the archive damaged (exit code {done.returncode})", code="container-damaged")
