"""Ports of the preserve step in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from perdura.ids import derived_id
from perdura.ports import FormatIdentifier, Identification, Ports, Scan, VirusScanner
from perdura.settings import Settings
from perdura.storage.memory import MemoryStore

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
NOW = datetime(2026, 11, 24, 12, 0, 0, 250000, tzinfo=UTC)
PLAIN_TEXT = Identification("Plain Text File", None, "x-fmt/111", "text/plain", False, "text match ASCII")
UNKNOWN = Identification(None, None, None, None, False, "no match")


class FakeScanner:
    """Finds EICAR, and has a database one can trust unless told otherwise."""

    def __init__(self, *, trusted: bool = True, verdict: Scan | None = None) -> None:
        self.engine = "ClamAV 1.4.6/27830/Mon Nov 23 09:30:12 2026"
        self.trusted = trusted
        self._verdict = verdict

    def scan(self, chunks: Iterator[bytes], size: int) -> Scan:
        if size >= 2**31:
            return Scan("not-scanned", "2 GiB or larger")
        data = b"".join(chunks)
        if EICAR in data:
            return Scan("infected", "Eicar-Test-File")
        return self._verdict or Scan("clean", "nothing found")


class FakeIdentifier:
    """Knows text by its extension and nothing else; notes what it was given."""

    tool = "fake 1.0 (signatures of 2026)"

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def identify(self, name: str, chunks: Iterator[bytes], size: int) -> Identification:
        self.sizes[name] = sum(len(chunk) for chunk in chunks)
        return PLAIN_TEXT if name.endswith(".txt") else UNKNOWN


class FakeBatchIdentifier(FakeIdentifier):
    """The same, for many files at once."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def identify_many(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Identification]:
        self.batches.append(len(files))
        return [self.identify(name, iter((data,)), len(data)) for name, data in files]


class FixedClock:
    def now(self) -> datetime:
        return NOW


class NoDeadline:
    def near(self) -> bool:
        return False


class SpentDeadline:
    def near(self) -> bool:
        return True


class NoIntents:
    def declare(self, key: str, intent: Any) -> Any:
        return intent

    def confirm(self, key: str, result: Any) -> None:
        return None

    def confirmed(self, key: str) -> Any:
        return None


def derived(name: str) -> UUID:
    return derived_id("step", 1, name)


def ports(
    store: MemoryStore,
    *,
    virus_scan: str = "preferred",
    identifier: FormatIdentifier | None = None,
    scanner: VirusScanner | None = None,
    deadline: Any = None,
    extras: dict[str, Any] | None = None,
) -> Ports:
    return Ports(
        settings=Settings(virus_scan=virus_scan, organisation="The Archive"),
        store=store,
        clock=FixedClock(),
        deadline=deadline or NoDeadline(),
        intents=NoIntents(),
        progress=lambda what, done, total: None,
        derived=derived,
        identifier=identifier,
        scanner=scanner,
        extras=extras,
    )
