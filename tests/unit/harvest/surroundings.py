"""What a harvest is given in tests: a store in memory, a clock, ids derived from names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from perdura.ids import derived_id
from perdura.outcome import ArchiveView, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore

ARCHIVE = UUID("11111111-1111-4111-8111-111111111111")
STEP = UUID("22222222-2222-4222-8222-222222222222")


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Deadline:
    """Near when the condition says so."""

    condition: Callable[[], bool] = lambda: False

    def near(self) -> bool:
        return self.condition()


class NoIntents:
    def declare(self, key: str, intent: Mapping[str, Any]) -> Mapping[str, Any]:
        raise NotImplementedError

    def confirm(self, key: str, result: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def confirmed(self, key: str) -> Mapping[str, Any] | None:
        raise NotImplementedError


@dataclass
class Harvesting:
    """One harvest step and its world."""

    store: MemoryStore = field(default_factory=MemoryStore)
    settings: Settings = field(default_factory=lambda: Settings(allow_loopback_upstreams=True))
    deadline: Deadline = field(default_factory=Deadline)
    progress: list[tuple[str, int, int | None]] = field(default_factory=list)
    extras: dict[str, Any] = field(default_factory=dict)

    def ports(self) -> Ports:
        return Ports(
            settings=self.settings,
            store=self.store,
            clock=SystemClock(),
            deadline=self.deadline,
            intents=NoIntents(),
            progress=lambda what, done, total: self.progress.append((what, done, total)),
            derived=lambda name: derived_id(STEP, name),
            extras=self.extras,
        )

    def archive(
        self, given: Mapping[str, Any], *, attempt: int = 1, checkpoint: Mapping[str, Any] | None = None
    ) -> ArchiveView:
        return ArchiveView(ARCHIVE, StepView(STEP, "harvest", attempt, given, checkpoint or {}))

    def listing(self, below: str = "") -> list[str]:
        """Keys in the SIP bucket without the Archive's id."""
        prefix = f"{ARCHIVE}/"
        found = self.store.list(self.settings.bucket_sips, prefix + below)
        return [item.ref.key.removeprefix(prefix) for item in found]

    def read(self, key: str) -> bytes:
        """One object of the Archive in the SIP bucket."""
        info = self.store.head(self.settings.bucket_sips, f"{ARCHIVE}/{key}")
        return self.store.read(info.ref)
