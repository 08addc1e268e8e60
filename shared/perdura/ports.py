"""What a step may ask of the outside world: each port an interface with a real and a fake adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from perdura.settings import Settings
from perdura.storage.store import Store


class Clock(Protocol):
    """Time as the step sees it."""

    def now(self) -> datetime:
        """The present instant, in UTC."""
        ...


class Deadline(Protocol):
    """The time budget of one invocation (architecture §3: none lives longer than 10 minutes)."""

    def near(self) -> bool:
        """True when the step should commit its progress and ask to be continued."""
        ...


class Intents(Protocol):
    """Durable notes of outside effects: written before the effect, confirmed after it (architecture §3.3).

    They are committed at once, outside the closing transaction, so that a worker that takes over after a
    crash knows what may already have been asked of the outside system.
    """

    def declare(self, key: str, intent: Mapping[str, Any]) -> Mapping[str, Any]:
        """Note `intent` under `key`; gives back the intent first noted there, if there was one before."""
        ...

    def confirm(self, key: str, result: Mapping[str, Any]) -> None:
        """Note the answer of the outside system."""
        ...

    def confirmed(self, key: str) -> Mapping[str, Any] | None:
        """The answer noted before, if any."""
        ...


@dataclass(frozen=True, slots=True)
class Identification:
    """The format of one file. `key` is a PRONOM PUID, or None; `tentative` when only the name spoke for it."""

    name: str | None
    version: str | None
    key: str | None
    media_type: str | None
    tentative: bool
    basis: str


class FormatIdentifier(Protocol):
    """Names the format of a file."""

    @property
    def tool(self) -> str:
        """Name and version of the tool and of its signatures."""
        ...

    def identify(self, name: str, chunks: Iterator[bytes], size: int) -> Identification:
        """Identify the file called `name` from its bytes (the adapter decides how many it needs)."""
        ...


@dataclass(frozen=True, slots=True)
class Scan:
    """Result of scanning one file: `clean`, `infected`, `not-scanned` or `error`, and what was said."""

    verdict: str
    detail: str


class VirusScanner(Protocol):
    """Scans bytes for known malware (embedded-services.md §7.4)."""

    @property
    def engine(self) -> str:
        """Engine and database as the scanner names them."""
        ...

    @property
    def trusted(self) -> bool:
        """False when the database is missing, a test one, or of unknown date: nothing may be called passed."""
        ...

    def scan(self, chunks: Iterator[bytes], size: int) -> Scan:
        """Scan one file."""
        ...


@dataclass(frozen=True, slots=True)
class TapeRequest:
    """One file to be archived: where it can be read, where it shall lie, and what it must be."""

    job_key: str
    source_url: str
    destination_path: str
    size: int
    adler32: str
    metadata: Mapping[str, str]
    source_token: str | None = None
    """Bearer token that opens the source."""
    verify_source: bool = False
    """True when the source tells its own ADLER32."""
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Residency:
    """Where a file of the tape system is (WLCG Tape REST locality) and what it is."""

    path: str
    on_disk: bool
    on_tape: bool
    size: int | None
    adler32: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TapeJob:
    """State of an archive job, with the system's own words.

    `active`, `archiving` (copied, on its way to tape), `finished`, `failed`, `cancelled` or `unknown`.
    `at_destination` is what the system found where the file was to be written.
    """

    job_id: str
    state: str
    reason: str | None = None
    recoverable: bool = True
    cancelled_by_user: bool = False
    at_destination: Residency | None = None


@dataclass(frozen=True, slots=True)
class Staging:
    """One file of a stage request: on disk, failed with `error`, or still to come."""

    on_disk: bool
    error: str | None = None


class TapeSystem(Protocol):
    """Archives files to tape; what it says of itself is checked by `residency` (fts-cta.md)."""

    def uri(self, destination_path: str) -> str:
        """The address of a file in the tape system."""
        ...

    def submit(self, request: TapeRequest) -> str:
        """Ask for archiving; the same `job_key` always gives the same job id, however often it is asked."""
        ...

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, TapeJob]:
        """States of many jobs in as few requests as the system allows."""
        ...

    def residency(self, paths: Sequence[str]) -> Mapping[str, Residency]:
        """Locality, size and ADLER32 of many files."""
        ...

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Stop jobs; a file already copied may still reach tape."""
        ...

    def stage(self, paths: Sequence[str], lifetime: int) -> str:
        """Ask for files on disk for `lifetime` seconds; gives back the request's id."""
        ...

    def staged(self, request: str) -> Mapping[str, Staging]:
        """How far a stage request is, by path; raises NotStored when it is no longer known."""
        ...

    def read(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Bytes of a file that is on disk."""
        ...

    def release(self, request: str, paths: Sequence[str]) -> None:
        """Let the tape system evict staged files."""
        ...


Progress = Callable[[str, int, int | None], None]
"""Called with (what, done, total or None); shown in the timeline; may be called often, is written rarely."""


@dataclass(frozen=True)
class Ports:
    """The adapters of one invocation; a step uses those it needs."""

    settings: Settings
    store: Store
    clock: Clock
    deadline: Deadline
    intents: Intents
    progress: Progress
    derived: Callable[[str], UUID]
    """Derives an id from the step, its attempt and a name: the same in every run of the same attempt."""
    identifier: FormatIdentifier | None = None
    scanner: VirusScanner | None = None
    tape: TapeSystem | None = None
    extras: Mapping[str, Any] | None = None
