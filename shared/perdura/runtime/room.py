"""Room: how many steps run at once in one process, so that the connections they hold leave some for all else.

A running step keeps the connection of its claim until its result is committed (ADR 1), and needs another for moments
in between, as every reader does. With half of the pool for claims the other half comes back within milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

WAIT = 10.0
"""Seconds that a request waits for a place: a request under way is what makes an autoscaler start another process."""


class Room:
    """Places for so many steps; as many more wait for one, and the others are sent away."""

    def __init__(self, places: int, wait: float = WAIT) -> None:
        self._places, self._waiting, self._wait = BoundedSemaphore(places), BoundedSemaphore(places), wait

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Whether there is a place, which is kept until the end of the block."""
        inside = self._places.acquire(blocking=False) or self._waited()
        try:
            yield inside
        finally:
            if inside:
                self._places.release()

    def _waited(self) -> bool:
        if not self._waiting.acquire(blocking=False):
            return False
        try:
            return self._places.acquire(timeout=self._wait)
        finally:
            self._waiting.release()
