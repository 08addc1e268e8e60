"""7-Zip as a separate process: unpacks an archive into a directory of ours, bounded in size and time."""

from __future__ import annotations

import subprocess
from pathlib import Path

from perdura.errors import Broken, Rejected

SECONDS = 480
_LISTED = 64 * 2**20


def unpacked_size(program: str, archive: Path) -> int:
    """Bytes of all members together, by the archive's own list; raises Rejected for one that cannot be read."""
    listed = _run(program, "l", "-slt", "-ba", "-sccUTF-8", str(archive))
    sizes = [line.removeprefix("Size = ") for line in listed.splitlines() if line.startswith("Size = ")]
    return sum(int(size) for size in sizes if size.strip().isdecimal())


def unpack(program: str, archive: Path, target: Path, limit: int) -> None:
    """Unpack everything into `target`.

    Raises Rejected when the archive is damaged or larger than `limit` bytes, Broken when the program cannot be run.
    """
    size = unpacked_size(program, archive)
    if size > limit:
        raise Rejected(f"the archive unpacks to {size} bytes, {limit} are allowed", code="scratch-too-small")
    # No links are made (-snl-), nothing is asked (-y), and 7-Zip itself refuses paths that leave the target.
    _run(program, "x", "-y", "-bd", "-snl-", f"-o{target}", str(archive))


def _run(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
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
    return done.stdout[:_LISTED].decode("utf-8", "replace")
