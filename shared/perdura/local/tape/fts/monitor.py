"""Watching files that wait for tape: rarely when nothing moves, at once when something may have."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdura.local.tape.scheduler import Scheduler

TOGETHER = 0.02
"""Seconds in which several wake-ups become one look."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One file: where it lies, since when it waits (epoch seconds), for how long it may, its stage token."""

    job_id: str
    file_id: int
    url: str
    since: float
    limit: float
    token: str | None = None


class Monitor:
    """Calls `look` with everything watched; `look` gives back whether anything moved.

    `run` hands a task to a worker thread. Looks never overlap; the interval doubles from `first` to `longest` while
    nothing moves.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        run: Callable[[Callable[[], None]], None],
        look: Callable[[Sequence[Watched]], bool],
        first: float,
        longest: float,
    ) -> None:
        self._scheduler, self._run, self._look = scheduler, run, look
        self._first, self._longest = first, longest
        self._lock = threading.Lock()
        self._watched: dict[int, Watched] = {}
        self._interval = first
        self._due: float | None = None
        self._looking = False

    def add(self, file: Watched) -> None:
        """Watch a file from now on."""
        with self._lock:
            self._watched[file.file_id] = file
            self._interval = self._first
            self._arrange(self._first)

    def discard(self, file_id: int) -> None:
        """Watch a file no more."""
        with self._lock:
            self._watched.pop(file_id, None)

    def wake(self) -> None:
        """Something may have moved."""
        with self._lock:
            self._interval = self._first
            self._arrange(min(TOGETHER, self._first))

    def _arrange(self, delay: float) -> None:
        """Have a look in `delay` seconds, unless one is due before."""
        due = time.monotonic() + delay
        if not self._watched or (self._due is not None and self._due <= due):
            return
        self._due = due
        self._scheduler.after(delay, lambda: self._run(lambda: self._tick(due)))

    def _tick(self, due: float) -> None:
        with self._lock:
            if self._due != due or self._looking:
                return
            self._due, self._looking = None, True
            files = list(self._watched.values())
        moved = False
        try:
            moved = self._look(files)
        finally:
            with self._lock:
                self._looking = False
                self._interval = self._first if moved else min(self._interval * 2, self._longest)
                # A wake-up during the look left an arrangement whose turn was refused: make it anew.
                self._due = None
                self._arrange(self._interval)
