"""What a step may ask of the outside world: each port an interface with a real and a fake adapter."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from perdura.fleet import Fleet
from perdura.outcome import ArchiveView
from perdura.packages.tape_container import Slot
from perdura.premis.model import Event
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


class Contents(Protocol):
    """Which content is held already, so that the same deposit is not kept twice."""

    def claim(self, sha256: str) -> UUID | None:
        """The other Archive that holds this content; None when it is now this one's. Committed at once."""
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


@dataclass(frozen=True, slots=True)
class Characterisation:
    """What a tool said of one file (None: nothing), and why it failed, if it did."""

    output: str | None = None
    failure: str | None = None
    timed_out: bool = False
    """Whether it failed because it gave no answer in its time."""

    def value(self, file: str) -> Any:
        """The output as JSON where it is some, without the name that the file had for a moment."""
        text = (self.output or "").replace(file, "")
        try:
            return json.loads(text)
        except ValueError:
            return text


class Characteriser(Protocol):
    """Describes files of some kinds, by whatever tool; it never raises for a file."""

    name: str

    @property
    def tool(self) -> str:
        """Name and version of the tool."""
        ...

    def wants(self, name: str) -> bool:
        """Whether a file of that name is for it."""
        ...

    def characterise(self, path: Path, seconds: float) -> Characterisation:
        """Describe one file, in so many seconds."""
        ...


class VirusScanner(Protocol):
    """Scans bytes for known malware (embedded-services.md §7.4)."""

    @property
    def engine(self) -> str:
        """Engine and database as the scanner names them."""
        ...

    @property
    def trusted(self) -> bool:
        """False when nothing may be called passed.

        The database is missing, a test one, too old or of unknown date, or it calls clean what it could not look into.
        """
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
    said: str | None = None
    """Why the system does not say what the file is (`error` is `UNAVAILABLE` then)."""


@dataclass(frozen=True, slots=True)
class TapeJob:
    """State of an archive job, with the system's own words.

    `active`, `archiving` (copied, on its way to tape), `finished`, `failed`, `cancelled`, `unknown` (the system has
    none of that id), `withheld` (it has, and does not show it to us) or `untold` (it failed to say).
    `at_destination` is what the system found where the file was to be written.
    """

    job_id: str
    state: str
    reason: str | None = None
    recoverable: bool = True
    at_destination: Residency | None = None
    file: str | None = None
    """The system's own name of the file, by which its failed attempts are asked for."""
    file_state: str | None = None
    """State of the file in the system's own words."""
    retries: int = 0
    """Attempts of the system's own that failed before the present one."""
    log_file: str | None = None
    """Where the system keeps the log of its last attempt."""


@dataclass(frozen=True, slots=True)
class TapeRetry:
    """One attempt of the tape system's own that failed, in its words: when, why, on which host, with which log."""

    attempt: int
    at: datetime
    reason: str
    host: str | None = None
    log_file: str | None = None


@dataclass(frozen=True, slots=True)
class TapeAccount:
    """At which server our jobs are, and under which name it knows us."""

    server: str
    holder: str


@dataclass(frozen=True, slots=True)
class Staging:
    """One file of a stage request: on disk, failed with `error`, or still to come."""

    on_disk: bool
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TapeCredentials:
    """What opens the tape system to us: a certificate's name or `token`, and until when.

    `proxy_expires_at` is the end of the proxy that FTS holds of the certificate.
    """

    holder: str
    expires_at: datetime | None
    proxy_expires_at: datetime | None = None


class TapeSystem(Protocol):
    """Archives files to tape; what it says of itself is checked by `residency` (fts-cta.md)."""

    def uri(self, destination_path: str) -> str:
        """The address of a file in the tape system."""
        ...

    def submit(self, request: TapeRequest) -> str:
        """Ask for archiving; the same `job_key` always gives the same job id, however often it is asked."""
        ...

    def job_id(self, job_key: str) -> str:
        """The id that a job of this key has, whether it was asked for or not."""
        ...

    def jobs(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> Mapping[str, TapeJob]:
        """States of many jobs in as few requests as the system allows; near the deadline some are left untold."""
        ...

    def retries(self, job: TapeJob) -> Sequence[TapeRetry]:
        """The attempts of a job that failed before the present one; the system forgets them some days later."""
        ...

    def account(self) -> TapeAccount:
        """At which server our jobs are, and under which name."""
        ...

    def residency(self, paths: Sequence[str], deadline: Deadline | None = None) -> Mapping[str, Residency]:
        """Locality, size and ADLER32 of many files; near the deadline some are left untold."""
        ...

    def cancel(self, job_ids: Sequence[str], deadline: Deadline | None = None) -> None:
        """Stop jobs; a file already copied may still reach tape. One that cannot be stopped keeps no other running.

        Raises what the system answers where none is stopped.
        """
        ...

    def set_priority(self, job_ids: Sequence[str], priority: int) -> None:
        """Change the priority (1 to 5) of jobs that are not over."""
        ...

    def credentials(self) -> TapeCredentials:
        """Our credentials as they are here, without asking the tape system."""
        ...

    def renew(self) -> TapeCredentials:
        """Make our credentials last while jobs are open (delegate anew where that is due), and describe them."""
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

    def unstage(self, request: str, paths: Sequence[str]) -> None:
        """Ask for the files of a stage request no longer; what is on disk already is for `release`."""
        ...

    def release(self, request: str, paths: Sequence[str]) -> None:
        """Let the tape system evict staged files."""
        ...


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """A container of AIPs as a file on tape, and where one AIP lies in it."""

    slot: Slot
    path: str
    size: int
    adler32: str


@dataclass(frozen=True, slots=True)
class TapeOrder:
    """A job about to be asked for: its key, the file on tape, and the Archive or the container it is for."""

    key: str
    path: str
    size: int
    priority: int
    archive: UUID | None = None
    container: UUID | None = None
    account: TapeAccount | None = None
    """Where it will be asked for, and as whom."""
    job_id: str | None = None
    """The id that it will be given there."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asked of a job: to be cancelled (by whom), or another priority."""

    cancelled_by: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class OpenJob:
    """A job of the register that is not over: its key and file; `job_id` None when no answer to it is known.

    `account` is where it was first asked for, and as whom; None where nothing was ever sent.
    """

    key: str
    path: str
    job_id: str | None
    account: TapeAccount | None
    asked_before: bool = True
    """False for one noted just now that was not asked of anybody before."""
    asked_as: str | None = None
    """The id that the tape system would give it when it was asked last, whatever became of the answer."""
    asked_ago: float | None = field(default=None, compare=False)
    """Seconds since it was asked before, as `admit` finds it."""


@dataclass(frozen=True, slots=True)
class LeftCopy:
    """An AIP that a job no step waits for was to put on tape; `slot`: its place in a container."""

    archive: ArchiveView
    package: UUID
    slot: Slot | None


@dataclass(frozen=True, slots=True)
class LeftJob:
    """A job that no step waits for any more, as everything it was for was cancelled: by whom, and since when.

    `job_id` None: no answer to it is known, and `asked_as` is what it would be. `size` and `adler32` are those of the
    file on tape.
    """

    key: str
    path: str
    size: int
    adler32: str | None
    job_id: str | None
    account: TapeAccount | None
    by: str
    since: datetime
    copies: tuple[LeftCopy, ...]
    asked_as: str | None = None


@dataclass(frozen=True, slots=True)
class LeftRecall:
    """A cancelled recall whose file the tape system was asked for: by whom, and since when."""

    archive: ArchiveView
    by: str
    since: datetime


class TapeJobs(Protocol):
    """The register of the jobs we asked for: noted before the tape system is asked (architecture §3.3).

    Every call is committed at once. A job counts as in flight from `admit` until `seen` or `ended` says it is over.
    """

    def paused(self) -> str | None:
        """Why no new jobs may be submitted; None when they may."""
        ...

    def stop(self, reason: str) -> None:
        """Let no new jobs be submitted until a person resumes."""
        ...

    def admit(self, order: TapeOrder, limit: int) -> OpenJob | None:
        """Note that a job will be asked for, and of whom, and give it back as it is noted now.

        None, and nothing noted, while the destination is paused or `limit` others are in flight; 0 is no limit. A key
        noted before takes no other place and keeps the account, the id and the answer that it has.
        """
        ...

    def unasked(self, order: TapeOrder) -> None:
        """Note that the order never left: it may be asked for elsewhere."""
        ...

    def asked_anew(self, order: TapeOrder) -> None:
        """Note that it is asked for under the id of this order: there is none under the one noted before."""
        ...

    def accepted(self, key: str, job_id: str, account: TapeAccount) -> None:
        """Note the answer of the tape system, and whose job it is there."""
        ...

    def wishes(self, keys: Sequence[str]) -> Mapping[str, Wish]:
        """What people asked of these jobs."""
        ...

    def granted(self, key: str) -> None:
        """Note that another priority was set as wished."""
        ...

    def seen(self, states: Mapping[str, TapeJob], over: Sequence[str]) -> None:
        """Note the states of jobs by key, and which of all are over for us."""
        ...

    def ended(self, keys: Sequence[str]) -> None:
        """Note that these are over for us: they were refused, or never came about."""
        ...

    def tried(self, key: str, retries: Sequence[TapeRetry]) -> None:
        """Note attempts that failed; one noted before is left as it is."""
        ...

    def open_job(self, paths: Sequence[str]) -> OpenJob | None:
        """The job that may still be writing one of these files; the newest that was answered if there are several."""
        ...

    def slot(self, package: UUID) -> ContainerFile | None:
        """The container that an AIP was put into, the newest if there were several."""
        ...


@dataclass(frozen=True, slots=True)
class Placed:
    """The record of an Archive at an access system: its id there, and how far it is.

    `draft`, `in-review`, `published` or `withdrawn`; `details` are addresses and identifiers by name.
    """

    record: str
    state: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Offer:
    """What readers of the access pages may have of an Archive: `metadata` alone, chosen files, or the whole `aip`.

    `files` are (name there, path in the AIP); `file_bytes` is their size together.
    """

    package: UUID
    content: str
    files: Sequence[tuple[str, str]] = ()
    file_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What is decided of an Archive at a moment: whether it is restricted, and its metadata (with the embargo).

    `withdrawn` are the destinations that a person withdrew it from; None among them means all.
    """

    restricted: bool
    metadata: Mapping[str, Any]
    withdrawn: tuple[str | None, ...] = ()

    def withdrawn_from(self, destinations: Collection[str]) -> bool:
        """Whether it was withdrawn from one of these, which are one access system."""
        return any(name is None or name in destinations for name in self.withdrawn)


Hold = Callable[[], None]
"""Confirms that a lock is still held; raises Retryable when it was lost."""


class Placements(Protocol):
    """What the registry knows of records on access systems, and the lock under which one is made."""

    def hold(self, destination: str, resource: str) -> AbstractContextManager[HeldPlacements]:
        """Be the only one that publishes this resource at this destination; raises Retryable when another is.

        No connection is held meanwhile. Who dies is followed by another some time later.
        """
        ...

    def known(self, destination: str, archive: UUID) -> Placed | None:
        """What was noted last."""
        ...

    def everywhere(self, archive: UUID) -> Mapping[str, Placed]:
        """What was noted last, by destination, of one that is configured no longer as well."""
        ...

    def records(self, destination: str, archive: UUID) -> Sequence[str]:
        """Every record that was ever noted, the oldest first."""
        ...

    def siblings(self, destinations: Collection[str], archive: UUID) -> Sequence[str]:
        """Records that other Archives of the same Resource have at any of these, the last noted first."""
        ...

    def successors(self, destinations: Collection[str], archive: UUID) -> Sequence[str]:
        """Records that later Archives of the same Resource have published at any of these, the latest first."""
        ...

    def standing(self, archive: UUID) -> Standing | None:
        """What is decided of an Archive at this moment, None where that is not known."""
        ...

    def note(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note a record at once, outside the closing transaction; one that was withdrawn stays withdrawn."""
        ...

    def take_off(self, destination: str, archive: UUID, placed: Placed) -> None:
        """Note at once that an Archive was withdrawn from access pages, which show it no longer."""
        ...

    def offer(self, destination: str, archive: UUID, offer: Offer, over: Placed | None = None) -> bool:
        """Note at once that an Archive is on access pages, where this is offered in place of what was before.

        False where it was withdrawn meanwhile, unless that is the withdrawal `over` which it is to be shown again.
        """
        ...

    def collections(self, archive: UUID) -> Sequence[str]:
        """Names of the Collections an Archive belongs to."""
        ...

    def withdrawn_before(self, destinations: Collection[str], archive: UUID) -> bool:
        """Whether the version of its Resource before this one stands withdrawn from any of these."""
        ...


class HeldPlacements(Placements, Protocol):
    """The same for the one that holds the lock: nothing is noted, and Retryable raised, once it is another's."""

    def confirm(self) -> None:
        """Confirm that the lock is still held; raises Retryable when it was lost."""
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
    contents: Contents | None = None
    identifier: FormatIdentifier | None = None
    scanner: VirusScanner | None = None
    characterisers: Sequence[Characteriser] = ()
    tape: TapeSystem | None = None
    tape_jobs: TapeJobs | None = None
    fleet: Fleet | None = None
    record: Callable[[Sequence[Event]], None] = lambda _: None
    """Adds events that happened elsewhere to the log at once, in batches: those that are there already stay as they
    are, so that it may be done again; for histories too long for one transaction."""
    placements: Placements | None = None
    extras: Mapping[str, Any] | None = None
