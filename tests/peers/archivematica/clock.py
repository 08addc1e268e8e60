"""A clock that tests step, and the events that become due as it goes."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


class SteppedClock:
    """Time as the test says; shared by the fake and by the step under test."""

    def __init__(self, begin: datetime = BEGIN) -> None:
        self.time = begin

    def now(self) -> datetime:
        return self.time

    def step(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Agenda:
    """Things to be done at given times, in order; `run` does all that are due by the clock."""

    def __init__(self, clock: SteppedClock) -> None:
        self.clock = clock
        self.at = clock.now()
        self._due: list[tuple[datetime, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Do `act` so many seconds after the present moment of the agenda."""
        self._count += 1
        heapq.heappush(self._due, (self.at + timedelta(seconds=seconds), self._count, act))

    def run(self) -> None:
        """Do everything that is due."""
        now = self.clock.now()
        while self._due and self._due[0][0] <= now:
            self.at, _, act = heapq.heappop(self._due)
            act()
        self.at = now
