"""A program run to its end as a separate process: it never outlives its time, and nothing that it began outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from perdura.storage.timed import TimeUp


def run_to_end(
    command: Sequence[str], environment: Mapping[str, str], work: Path, log: IO[bytes], seconds: float
) -> int:
    """Run a program in the folder `work`, all that it says going into `log`; gives back its exit code.

    It has no input, and of the environment only what is given. Raises OSError when it cannot be run, TimeUp when it
    takes longer than `seconds`.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeUp from error
    finally:
        # Its tools are children of its own: all of them are ended, also those that outlive it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
