"""a3m as a separate process in its own environment: one package, one work directory, one AIP (archivematica.md 10).

a3m is AGPL-3.0 and wants Python 3.12 or later: it is never imported, only run where an operator installed it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from perdura.errors import Broken, Rejected
from perdura.storage.timed import TimeUp

_FOLDERS = ("tmp", "currentlyProcessing", "rejected", "failed", "completed")
_SHOWN = 400
OPTIONS: Mapping[str, str] = {
    "normalize": "false",
    "transcribe_files": "false",
    "examine_contents": "false",
    "generate_transfer_structure_report": "false",
    "aip_compression_algorithm": "4",
}
"""Without normalisation and transcription; the AIP as a tar.gz, which is read as a stream."""


class A3mFailed(Rejected):
    """a3m could not make an AIP of the package; the message has what it said last."""

    code = "a3m-failed"


def make_aip(program: Path, transfer: Path, work: Path, name: str, seconds: float) -> Path:
    """Run a3m on an unpacked transfer; gives back the file that it stored below `work`.

    Raises A3mFailed when it fails, Broken when it cannot be run, TimeUp when it takes longer than `seconds`.
    """
    share = work / "share"
    for folder in _FOLDERS:
        (share / folder).mkdir(parents=True, exist_ok=True)
    options = [part for key, value in OPTIONS.items() for part in ("-p", f"{key}={value}")]
    command = [str(program), transfer.as_uri(), "--name", name, "--no-input", *options]
    try:
        process = subprocess.Popen(
            command,
            env=_environment(program, work, share),
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise Broken(f"a3m cannot be run: {error.strerror}", code="no-a3m") from error
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        # Its tools are children of its own: all of them are ended.
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise TimeUp from error
    text = " ".join(said.decode("utf-8", "replace").split())
    if process.returncode != 0:
        raise A3mFailed(f"a3m ended with {process.returncode}: {text[-_SHOWN:]}")
    found = sorted((share / "completed").rglob("*.tar.gz"))
    if len(found) != 1:
        raise A3mFailed(f"a3m stored {len(found)} packages instead of one: {text[-_SHOWN:]}")
    return found[0]


def _environment(program: Path, work: Path, share: Path) -> dict[str, str]:
    return {
        "PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work),
        "LC_ALL": "C.UTF-8",
        "A3M_SHARED_DIRECTORY": f"{share}/",
        "A3M_TEMP_DIRECTORY": f"{share}/tmp/",  # noqa: S108 - within the work directory
        "A3M_PROCESSING_DIRECTORY": f"{share}/currentlyProcessing/",
        "A3M_REJECTED_DIRECTORY": f"{share}/rejected/",
        "A3M_DB_NAME": str(work / "db.sqlite"),
        "DJANGO_SETTINGS_MODULE": "a3m.settings.common",
    }
