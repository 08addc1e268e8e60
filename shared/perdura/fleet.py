"""What preserve asks of a fleet of Archivematicas: the values it speaks in, and the ports (archivematica.md 1 to 3)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from perdura.errors import Broken, UpstreamUnavailable

IDEMPOTENT_FROM = (1, 19)
"""First version that honours `Idempotency-Key`."""


class ArchivematicaUnavailable(UpstreamUnavailable):
    """No answer, a 5xx, or something cut off: nothing may be concluded from it."""

    code = "archivematica-unavailable"


class AnswerTooLong(ArchivematicaUnavailable):
    """An answer of more bytes than are read: asking again gives the same."""

    code = "archivematica-answer-too-long"


class NotSent(ArchivematicaUnavailable):
    """The connection could not be opened: what was to be asked was certainly not heard."""

    code = "archivematica-unreachable"


class ArchivematicaRefused(Broken):
    """Archivematica refuses what it was asked, or our credentials; `status` is its HTTP status."""

    code = "archivematica-refused"

    def __init__(self, message: str, status: int, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.status = status


_NAMED = re.compile(
    r"(?:.*-)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.7z|\.tar|\.tar\.gz|\.tgz|\.tar\.bz2)?", re.IGNORECASE
)


def id_in_name(path: str) -> UUID | None:
    """The id of an AIP, which is the end of the name that Archivematica and a3m give it (archivematica.md 7.1)."""
    found = _NAMED.fullmatch(path.rstrip("/").rpartition("/")[2])
    return UUID(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Terms:
    """How one instance is used: its room, where it reads SIPs, where it keeps AIPs.

    SIPs are put into `source_bucket` below `source_prefix`, or into `source_directory`. `aip_bucket` is the bucket of
    its AIP store where that is an S3 space; `aips_stay` says that they are kept there and not copied.
    """

    name: str
    packages: int
    bytes: int | None
    configuration: str
    source_location: str
    source_bucket: str | None = None
    source_prefix: str = ""
    source_directory: str | None = None
    aip_bucket: str | None = None
    aips_stay: bool = True
    link: str = ""


class Stage(StrEnum):
    """The two halves of Archivematica's work, with the names their paths have."""

    TRANSFER = "transfer"
    INGEST = "ingest"


class UnitState(StrEnum):
    """What a status call says of a unit; NO_STATUS is the 400 of a known unit without jobs, UNKNOWN that of none."""

    PROCESSING = "PROCESSING"
    COMPLETE = "COMPLETE"
    USER_INPUT = "USER_INPUT"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    NO_STATUS = "NO_STATUS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Unit:
    """A transfer or SIP as the dashboard sees it. `sip` is its SIP's id, or the word BACKLOG."""

    state: UnitState
    microservice: str = ""
    sip: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed: its name and group, and (file name, exit code) of its failed tasks."""

    id: UUID
    name: str
    group: str
    tasks: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What a dashboard says of itself."""

    version: str
    pipeline: str

    @property
    def idempotent(self) -> bool:
        """Whether the same `Idempotency-Key` starts no second transfer."""
        return _numbers(self.version) >= IDEMPOTENT_FROM


@dataclass(frozen=True, slots=True)
class Start:
    """A transfer to be started. `type` is `zipped bag` or `unzipped bag`; `location` may be empty (the default)."""

    name: str
    type: str
    location: str
    path: str
    configuration: str
    accession: str | None = None

    def body(self) -> dict[str, Any]:
        """The document to post (1.2)."""
        place = f"{self.location}:{self.path}" if self.location else self.path
        body = {
            "name": self.name,
            "type": self.type,
            "path": base64.b64encode(place.encode()).decode(),
            "processing_config": self.configuration,
        }
        return body | ({"accession": self.accession} if self.accession else {})


class Ambiguous(ArchivematicaUnavailable):
    """The transfer may or may not have been started."""

    code = "archivematica-ambiguous"


class StillPending(Ambiguous):
    """The same request was heard before and has no answer yet, which may stay so (archivematica.md 1.2)."""

    code = "archivematica-pending"


@dataclass(frozen=True, slots=True)
class Stored:
    """A package record. `path` is the full path in its space; an S3 key is that without the leading slash."""

    id: UUID
    kind: str
    status: str
    path: str
    size: int
    pipeline: str
    related: tuple[UUID, ...]

    @property
    def key(self) -> str:
        """The path as the key of an object."""
        return self.path.lstrip("/")

    @property
    def name(self) -> str:
        """Last component of the path."""
        return self.path.rstrip("/").rpartition("/")[2]


@runtime_checkable
class Archivematica(Protocol):
    """One dashboard with its Storage Service. Everything raises ArchivematicaUnavailable, ArchivematicaRefused."""

    @property
    def terms(self) -> Terms:
        """How this one is used."""
        ...

    def probe(self) -> Probe:
        """Version and identity; also proves the key."""
        ...

    def start(self, start: Start, key: str) -> UUID:
        """Start a transfer under an idempotency key; raises NotSent, Ambiguous besides."""
        ...

    def status(self, stage: Stage, unit: UUID) -> Unit:
        """State of a unit."""
        ...

    def failed_jobs(self, unit: UUID) -> tuple[FailedJob, ...]:
        """Jobs that failed, with their failed tasks."""
        ...

    def failed_tasks(self, unit: UUID, job: str, most: int) -> tuple[tuple[str, ...], int]:
        """Files whose task in the jobs of that name failed, at most so many, and how many they are in all.

        Raises AnswerTooLong when there are too many tasks to be read.
        """
        ...

    def waiting(self) -> Mapping[str, tuple[UUID, str]]:
        """Units that wait for a person: name → (id, question)."""
        ...

    def configurations(self) -> Sequence[str]:
        """Names of the processing configurations."""
        ...

    def choices(self, configuration: str) -> Mapping[str, str]:
        """What a processing configuration decides: id of the question → id of the choice."""
        ...

    def hide(self, stage: Stage, unit: UUID) -> None:
        """Take a finished unit out of the dashboard's lists."""
        ...

    def source_holds(self, folder: str, entry: str) -> bool:
        """Whether the transfer source shows that entry of a folder."""
        ...

    def package(self, package: UUID) -> Stored | None:
        """The record of a stored package."""
        ...

    def stored_as(self, name: str, since: datetime) -> tuple[Stored, ...]:
        """AIPs stored since then that were made of the transfer of exactly that name."""
        ...

    def pointer(self, package: UUID) -> bytes | None:
        """The pointer file of a compressed AIP."""
        ...

    def download(self, package: UUID, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """The package as a stream; raises TimeUp when `near` says that time is up."""
        ...

    def extract(self, package: UUID, path: str, near: Callable[[], bool]) -> AbstractContextManager[Iterator[bytes]]:
        """One file of a package as a stream; raises TimeUp when `near` says that time is up."""
        ...


@dataclass(frozen=True, slots=True)
class Submission:
    """One SIP on its way through an Archivematica. Its `name` is unique among everything ever submitted.

    `state`: `queued` (for a place), `reserved` (a place is kept, nothing sent), `unsure` (asked for, answer unknown),
    `followed` (its transfer is known), `stored` (to be taken over), `closed` (with `outcome`), `flawed` (the same, and
    its AIP is not what it must be: another attempt makes another). `ahead` and `ahead_bytes` are what was in flight
    there when the place was kept.
    """

    id: UUID
    archive: UUID
    step: UUID
    name: str
    size: int
    wanted: str | None
    queued_at: datetime
    state: str = "queued"
    instance: str | None = None
    configuration: str | None = None
    path: str | None = None
    ahead: int = 0
    ahead_bytes: int = 0
    tries: int = 0
    sent_at: datetime | None = None
    transfer: UUID | None = None
    sip: UUID | None = None
    status: str = ""
    microservice: str = ""
    moved_at: datetime | None = None
    """When its status last changed: the last sign of life."""
    outcome: str | None = None
    refused: tuple[str, ...] = ()
    """Instances whose checks it did not pass, for faults of theirs."""

    @property
    def in_flight(self) -> bool:
        """Whether it takes up room there, as far as is known."""
        return self.state in IN_FLIGHT

    @property
    def sent_as(self) -> str:
        """The name that it has in its Archivematica: an earlier attempt may have sent it under that one's."""
        return self.path or self.name

    @property
    def sent_since(self) -> datetime:
        """When it was asked for; when it was queued, as long as it was not."""
        return self.sent_at or self.queued_at

    @property
    def last_sign(self) -> datetime:
        """The last sign of life."""
        return self.moved_at or self.sent_since

    @property
    def unit(self) -> tuple[Stage, UUID]:
        """What a dashboard is asked for, once its transfer is known: that, or the SIP that it became."""
        if self.sip is not None:
            return Stage.INGEST, self.sip
        assert self.transfer is not None
        return Stage.TRANSFER, self.transfer

    def ingested(self, unit: Unit, now: datetime) -> Submission:
        """The submission once its transfer has become the SIP that `unit` names."""
        assert unit.sip is not None
        return replace(self, sip=UUID(unit.sip), status="", microservice="", moved_at=now)


GONE = frozenset({"DELETED", "FAIL"})
"""Statuses of a package record behind which there is no package."""
IN_FLIGHT = ("reserved", "unsure", "followed", "stored")


class Submissions(Protocol):
    """The durable book of submissions and instances. Every call is committed at once, so that who takes over knows."""

    def queue(self, archive: UUID, step: UUID, size: int, wanted: str | None) -> Submission:
        """The submission of that step, made when there is none, under a name that was never used before."""
        ...

    def of_step(self, step: UUID) -> Submission | None:
        """The submission of a step."""
        ...

    def earlier(self, archive: UUID, step: UUID) -> Sequence[Submission]:
        """What other steps of the Archive ever sent to an Archivematica, newest first."""
        ...

    def left(self, most: int) -> Sequence[Submission]:
        """What is in flight of steps that are over, at most so many, those not looked at for the longest time first."""
        ...

    def reserve(self, submission: Submission, offers: Sequence[Terms]) -> Submission | str:
        """Keep a place at the least-loaded instance; or the reason why there is none now."""
        ...

    def note(self, submission: Submission) -> None:
        """Write down what changed."""
        ...

    def sending(self, submission: Submission) -> bool:
        """Write down that it is about to be asked for; not, when its step is over or its place was taken from it."""
        ...

    def met(self, instance: str, failure: str | None) -> None:
        """Count a request that an instance failed, or one that it took, which ends the counting.

        Too many in a row pause it for a while.
        """
        ...

    def ended(self, instance: str, kind: str | None, message: str = "") -> None:
        """Count packages in a row that ended alike at an instance, by error code; none when an AIP came about.

        Too many pause it for a while, for then it is less likely that all of them are bad than that it is.
        """
        ...

    def seen(self, instance: str, probe: Probe | None, reason: str = "") -> None:
        """Note that an instance answered with `probe`, or did not, and why."""
        ...


@dataclass(frozen=True, slots=True)
class Fleet:
    """All instances by name, and the book that is kept of them."""

    instances: Mapping[str, Archivematica]
    book: Submissions


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))] if part else ""
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
