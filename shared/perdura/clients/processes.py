"""A program run to its end as a separate process: it never outlives its time, and nothing that it began outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from perdura.storage.timed import TimeUp

_LOOK = 1.0
"""Seconds after which it is looked whether there is time to wait."""


def run_to_end(
    command: Sequence[str],
    environment: Mapping[str, str],
    work: Path,
    log: IO[bytes],
    seconds: float,
    near: Callable[[], bool] = lambda: False,
) -> int:
    """Run a program in the folder `work`, all that it says going into `log`; gives back its exit code.

    It has no input, and of the environment only what is given. Raises OSError when it cannot be run, TimeUp when it
    takes longer than `seconds`, or `near` says that time is up.
    """
    end = time.monotonic() + seconds
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
        while True:
            try:
                return process.wait(timeout=max(0.0, min(_LOOK, end - time.monotonic())))
            except subprocess.TimeoutExpired as error:
                if near() or time.monotonic() >= end:
                    raise TimeUp from error
    finally:
        # Its tools are children of its own: all of them are ended, also those that outlive it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
