"""A program run as a separate process: it never outlives its time, and nothing that it began outlives it."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from perdura.storage.timed import TimeUp

_LOOK = 1.0
"""Seconds after which it is looked whether there is time to wait."""
_PIECE = 1 << 16


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
    with _ended(process):
        while True:
            try:
                return process.wait(timeout=max(0.0, min(_LOOK, end - time.monotonic())))
            except subprocess.TimeoutExpired as error:
                if near() or time.monotonic() >= end:
                    raise TimeUp from error


def output_of(
    command: Sequence[str], environment: Mapping[str, str], seconds: float, largest: int
) -> tuple[bytes, int | None]:
    """What a program writes to its standard output, and its exit code.

    One that writes more than `largest` bytes is ended at that: given are one more than these then, and None. It has
    no input, and of the environment only what is given. Raises OSError when it cannot be run, TimeUp when it takes
    longer than `seconds`.
    """
    end, said = time.monotonic() + seconds, bytearray()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout as out, _ended(process), selectors.DefaultSelector() as ready:
        ready.register(out, selectors.EVENT_READ)
        while len(said) <= largest:
            if not ready.select(max(0.0, end - time.monotonic())):
                raise TimeUp
            piece = os.read(out.fileno(), min(_PIECE, largest + 1 - len(said)))
            if not piece:
                try:
                    return bytes(said), process.wait(timeout=max(0.0, end - time.monotonic()))
                except subprocess.TimeoutExpired as error:
                    raise TimeUp from error
            said += piece
        return bytes(said), None


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends a process that leads a session of its own, and all that is in it, after what follows."""
    try:
        yield
    finally:
        # Its tools are children of its own: all of them are ended, also those that outlive it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
