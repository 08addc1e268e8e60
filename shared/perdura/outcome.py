"""What a step is given and what it gives back: values only, so that every decision is tested without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from perdura.premis.model import Agent, Event


class StepState(StrEnum):
    """States of a step (architecture §1)."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    BLOCKED = "blocked"
    COMPLETED = "completed"
    COMPLETED_WITH_WARNINGS = "completed_with_warnings"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNDER_WAY = frozenset({StepState.QUEUED, StepState.RUNNING, StepState.WAITING})
"""States in which something is done for a step, or will be."""
STOPPABLE = UNDER_WAY | {StepState.BLOCKED}
"""States of a step that is not over: one that waits for a person may have left something under way elsewhere."""


class PackageKind(StrEnum):
    """Kinds of OAIS information package."""

    SIP = "SIP"
    AIP = "AIP"
    DIP = "DIP"


@dataclass(frozen=True, slots=True)
class Package:
    """A stored package. `key` is an object, or a prefix ending in `/` when `container` is `prefix`.

    `checksums` maps algorithm (`sha256`, `sha512`, `adler32` …) to lower-case hex of the whole object.
    `size` is in bytes: of the object, or of all objects below the prefix.
    """

    id: UUID
    kind: PackageKind
    bucket: str
    key: str
    container: str
    size: int
    version_id: str | None = None
    etag: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    accepted: bool = True
    index_key: str | None = None
    retain_until: datetime | None = None
    """Until when the store refuses to delete this version."""
    recorded_at: datetime | None = None
    """Since when the registry knows it; None for one that is about to be recorded."""


@dataclass(frozen=True, slots=True)
class File:
    """One payload file of a package. `offset` is where its bytes begin in an uncompressed container."""

    path: str
    size: int
    checksums: Mapping[str, str]
    offset: int | None = None
    format_name: str | None = None
    format_key: str | None = None
    media_type: str | None = None


class CopyState(StrEnum):
    """Whether a copy counts: as far as we know it is there, or it was found lost or damaged."""

    HELD = "held"
    LOST = "lost"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Copy:
    """One placement of a package: `location` names the store (`object-store`, `tape` …), `uri` the place in it."""

    package_id: UUID
    location: str
    uri: str
    size: int
    checksums: Mapping[str, str]
    verified_at: datetime | None = None
    state: CopyState = CopyState.HELD


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """A part of a step that another invocation does; `checkpoint` says what, and how far it is."""

    key: str
    checkpoint: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UnitView:
    """A work unit as its step sees it: `is_lost` when nobody has worked on it for longer than anybody may."""

    state: str
    checkpoint: Mapping[str, Any]
    result: Mapping[str, Any]
    is_lost: bool = False

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do of it."""
        return self.state == StepState.COMPLETED


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """What one invocation did of a unit. `result` holds `done`, for the progress: `what` was done, of `total`."""

    done: bool
    checkpoint: Mapping[str, Any]
    result: Mapping[str, Any]
    what: str = ""
    total: int | None = None


@dataclass(frozen=True, slots=True)
class StepView:
    """The step being run: its number of attempt, its input, and the checkpoint its last invocation left."""

    id: UUID
    name: str
    attempt: int
    input: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] = field(default_factory=dict)
    created_at: datetime | None = None
    units: Mapping[str, UnitView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ArchiveView:
    """An Archive as a step sees it: a snapshot, never written to."""

    id: UUID
    step: StepView
    title: str = ""
    source: str | None = None
    recid: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    restricted: bool = False
    packages: tuple[Package, ...] = ()
    copies: tuple[Copy, ...] = ()
    created_at: datetime | None = None

    def package(self, kind: PackageKind) -> Package | None:
        """The newest accepted package of that kind, if there is one."""
        return next((p for p in reversed(self.packages) if p.kind is kind and p.accepted), None)

    def package_of_id(self, package: UUID | str | None) -> Package | None:
        """The package with this id, which may be as a step's input or checkpoint has it, if there is one."""
        return next((p for p in self.packages if str(p.id) == str(package)), None)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the world should hear: a CloudEvent type of the catalogue and its data."""

    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why a step failed or warned, for the report, the API and the timeline."""

    code: str
    message: str
    severity: str = "error"
    path: str | None = None
    clause: str | None = None


@dataclass(frozen=True, slots=True)
class ArchiveChange:
    """What the step learned about the Archive itself; absent fields stay as they are."""

    title: str | None = None
    metadata: Mapping[str, Any] | None = None
    restricted: bool | None = None
    content_sha256: str | None = None
    rejected: bool = False
    source: str | None = None
    recid: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did. The runtime records all of it in one transaction, or none.

    - COMPLETED, COMPLETED_WITH_WARNINGS: the pipeline goes on.
    - FAILED: `error_code` and `message` say why, to its user; the pipeline stops; a person may retry.
    - BLOCKED: a person has to decide or mend something first.
    - WAITING: an outside system works; `poll_at` says when to look again, `checkpoint` what to look for.
    - QUEUED: the time budget is nearly used; `checkpoint` says where to go on; the runtime asks again at once.
    """

    state: StepState = StepState.COMPLETED
    output: Mapping[str, Any] = field(default_factory=dict)
    packages: tuple[Package, ...] = ()
    copies: tuple[Copy, ...] = ()
    files: tuple[tuple[UUID, Sequence[File]], ...] = ()
    """Payload files by package id."""
    events: tuple[Event, ...] = ()
    told_events: tuple[Event, ...] = ()
    told_agents: tuple[Agent, ...] = ()
    """What others recorded and a package tells of: it goes into the log as well; what the log has stays as it is."""
    facts: tuple[Fact, ...] = ()
    findings: tuple[Finding, ...] = ()
    archive: ArchiveChange | None = None
    published: Mapping[str, str] = field(default_factory=dict)
    """Where the Archive can be read from now on: addresses by destination."""
    units: tuple[WorkUnit, ...] = ()
    """Parts of a WAITING step that other invocations do; the last one to end asks for the step again."""
    checkpoint: Mapping[str, Any] | None = None
    poll_at: datetime | None = None
    error_code: str | None = None
    message: str | None = None
