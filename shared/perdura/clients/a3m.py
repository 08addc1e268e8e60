"""a3m as a separate process in its own environment: one package, one work directory, one AIP (archivematica.md 10).

a3m is AGPL-3.0 and wants Python 3.12 or later: it is never imported, only run where an operator installed it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from perdura.clients.processes import run_to_end
from perdura.errors import Broken, Rejected

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


def make_aip(
    program: Path, transfer: Path, work: Path, name: str, seconds: float, near: Callable[[], bool] = lambda: False
) -> Path:
    """Run a3m on an unpacked transfer; gives back the file that it stored below `work`.

    Raises A3mFailed when it fails, Broken when it cannot be run, TimeUp when it takes longer than `seconds`
    or than there is time (`near`).
    """
    share = work / "share"
    for folder in _FOLDERS:
        (share / folder).mkdir(parents=True, exist_ok=True)
    options = [part for key, value in OPTIONS.items() for part in ("-p", f"{key}={value}")]
    command = [str(program), transfer.as_uri(), "--name", name, "--no-input", *options]
    told = work / "a3m.log"
    with told.open("wb") as log:
        try:
            returned = run_to_end(command, _environment(program, work, share), work, log, seconds, near)
        except OSError as error:
            raise Broken(f"a3m cannot be run: {error.strerror}", code="no-a3m") from error
    text = _last_words(told)
    if returned != 0:
        raise A3mFailed(f"a3m ended with {returned}: {text}")
    found = sorted((share / "completed").rglob("*.tar.gz"))
    if len(found) != 1:
        raise A3mFailed(f"a3m stored {len(found)} packages instead of one: {text}")
    if found[0].is_symlink() or not found[0].is_file():
        raise A3mFailed("what a3m stored as its package is no file")
    return found[0]


def _last_words(told: Path) -> str:
    """The end of what the program said, as one line of what can be shown: file names in it are a depositor's."""
    with told.open("rb") as log:
        log.seek(max(0, told.stat().st_size - 4 * _SHOWN))
        said = log.read().decode("utf-8", "replace")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in said).split())[-_SHOWN:]


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
