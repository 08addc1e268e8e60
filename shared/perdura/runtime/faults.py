"""Injected deaths, so that the chaos tests can kill a function at every point that matters.

Inert unless `PERDURA_FAULTS` names a directory. Reaching the point `ingest.after-commit` then kills the process with
SIGKILL if the directory holds a file of that name, after removing it: each armed fault fires once.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = ("before-effect", "after-effect", "after-commit", "after-response", "after-emission")
"""In this order: the step is started, its outside effects are done, its transaction is committed, the response has been
sent, its CloudEvents have been emitted."""

_DIRECTORY = os.environ.get("PERDURA_FAULTS")


def reach(function: str, point: str) -> None:
    """Die here if a fault is armed for this function and point."""
    if _DIRECTORY is None:
        return
    armed = Path(_DIRECTORY) / f"{function}.{point}"
    try:
        armed.rename(armed.with_suffix(f".{point}.fired"))
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
