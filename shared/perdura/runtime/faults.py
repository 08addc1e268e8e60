"""Injected deaths, so that the chaos tests can kill a function at every point that matters.

Inert unless `PERDURA_FAULTS` names a directory. The function that the process serves (`FUNCTION`) then dies by SIGKILL
where the directory holds a file of its name and the point's, such as `ingest.after-commit`; the file is renamed first,
so that each armed fault fires once.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

POINTS = ("before-effect", "after-effect", "after-commit", "after-response", "after-emission")
"""In this order: the step is started, its outside effects are done, its transaction is committed, the response has been
sent, its CloudEvents have been emitted."""

UNIT_POINTS = ("unit-before-effect", "unit-after-effect", "unit-after-commit")
"""The same of one work unit of a step: begun, its receipt stored, its progress committed."""

LOOK_POINTS = ("look-after-effect", "look-after-commit")
"""The same of a look at waiting steps: the outside system has told, what it told is committed."""

_DIRECTORY = os.environ.get("PERDURA_FAULTS")
_FUNCTION = os.environ.get("FUNCTION", "")


def reach(point: str) -> None:
    """Die here if a fault is armed for this function and point; one that says `TERM` ends the whole server politely."""
    if _DIRECTORY is None:
        return
    armed = Path(_DIRECTORY) / f"{_FUNCTION}.{point}"
    try:
        politely = armed.read_text() == "TERM"
        armed.rename(armed.with_suffix(f".{point}.fired"))
    except OSError:
        return
    if politely:
        os.kill(os.getppid(), signal.SIGTERM)
        return
    os.kill(os.getpid(), signal.SIGKILL)
