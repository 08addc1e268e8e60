"""Where undelivered events are kept: what the dispatcher needs of it, and the journal that forgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from perdura.errors import DatabaseUnavailable
from perdura.local.broker.envelope import Envelope


class Stage(StrEnum):
    """Where an event is on its way: to the subscriber, to the dead letter sink, or nowhere any more."""

    SUBSCRIBER = "subscriber"
    DEAD_LETTER = "dead-letter"
    DEAD = "dead"


@dataclass(slots=True)
class Entry:
    """One event on its way through one Trigger. `due` is in seconds from now, `reason` of the last failure."""

    id: int
    trigger: str
    event: Envelope
    stage: Stage = Stage.SUBSCRIBER
    attempts: int = 0
    due: float = 0.0
    reason: str | None = None


class Journal(Protocol):
    """Keeps entries until they are finished. What is added survives a kill once `add` or `finish` returned."""

    async def start(self) -> None:
        """Make ready. Raises DatabaseUnavailable."""
        ...

    def new_id(self) -> int:
        """An id for an entry."""
        ...

    async def add(self, entries: Sequence[Entry], *, leave: bool = False) -> None:
        """Keep new entries; with `leave` for whoever adopts them. Raises DatabaseUnavailable."""
        ...

    async def finish(self, entry: Entry, replies: Sequence[Entry] = ()) -> None:
        """Forget a delivered entry and keep its replies, both or neither; returns early without replies."""
        ...

    def update(self, entry: Entry) -> None:
        """Keep the changed stage, attempts, due time, reason and event of an entry, soon."""
        ...

    async def adopt(self, triggers: Sequence[str], limit: int) -> list[Entry]:
        """Entries of these Triggers that no living broker holds, now held here, oldest first."""
        ...

    async def count_dead(self) -> int:
        """How many entries are dead."""
        ...

    async def close(self) -> None:
        """Write what is still to be written and let go of everything held."""
        ...


class MemoryJournal:
    """Keeps nothing: what the process holds is all there is."""

    def __init__(self) -> None:
        self._last = 0
        self._dead = 0

    async def start(self) -> None:
        """Nothing to do."""

    def new_id(self) -> int:
        """The next number."""
        self._last += 1
        return self._last

    async def add(self, entries: Sequence[Entry], *, leave: bool = False) -> None:  # noqa: ARG002  as in Journal
        """Nothing to do. Raises DatabaseUnavailable for what should be left: there is nowhere to leave it."""
        if leave:
            raise DatabaseUnavailable("the broker holds as much as it can")

    async def finish(self, entry: Entry, replies: Sequence[Entry] = ()) -> None:
        """Nothing to do."""

    def update(self, entry: Entry) -> None:
        """Count the dead."""
        self._dead += entry.stage is Stage.DEAD

    async def adopt(self, triggers: Sequence[str], limit: int) -> list[Entry]:  # noqa: ARG002  as in Journal
        """Nothing is ever left."""
        return []

    async def count_dead(self) -> int:
        """How many entries died here."""
        return self._dead

    async def close(self) -> None:
        """Nothing to do."""
