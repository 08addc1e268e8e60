"""Every CloudEvent type of Perdura with the model of its data (architecture §4).

From this module are generated: `docs/events.md`, the JSON Schemas and the Knative EventTypes. Requests route work and
may come from outside; facts tell the world what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=4096)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Data(BaseModel):
    """Base of all data: unknown members are ignored, so that old and new functions can run side by side."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class PackageReference(Data):
    """A claim check: where the bytes are and what they must be, never the bytes themselves."""

    id: UUID
    kind: Literal["SIP", "AIP", "DIP"]
    bucket: Text
    key: Text
    version_id: Text | None = None
    size: int = Field(ge=0)
    checksums: dict[str, str] = Field(default_factory=dict)


class StepRequested(Data):
    """Asks a function to run one step of one Archive."""

    archive: UUID
    step: UUID
    attempt: int = Field(1, ge=1)


class HarvestRequested(Data):
    """Asks to harvest: a step of an Archive, or from outside a URL or an item of a source."""

    archive: UUID | None = None
    step: UUID | None = None
    url: Text | None = None
    source: Text | None = None
    recid: Text | None = None


class HarvestRunRequested(Data):
    """Asks to list the records of one run of a schedule."""

    run: UUID


class IngestRequested(Data):
    """Asks to ingest: a step of an Archive or one unit of it, or from outside an object of the drop zone."""

    archive: UUID | None = None
    step: UUID | None = None
    unit: Text | None = None
    bucket: Text | None = None
    key: Text | None = None
    version_id: Text | None = None
    etag: Text | None = None
    size: int | None = Field(None, ge=0)


class PreserveRequested(StepRequested):
    """Asks for an AIP to be made of the Archive's accepted SIP."""


class PreserveOutsizedRequested(StepRequested):
    """Asks a Job to make the AIP of a package that is too large for an invocation."""


class ArchiveRequested(StepRequested):
    """Asks for the Archive's AIP to be put on tape."""


class PublishRequested(StepRequested):
    """Asks for the Archive to be made available on its access system."""


class NotifyRequested(StepRequested):
    """Asks for the source of a Resource to be told what became of it."""


class WithdrawRequested(StepRequested):
    """Asks for an Archive to be taken off its access systems."""


class RecallRequested(StepRequested):
    """Asks for a package to be brought back from tape."""


class VerifyRequested(StepRequested):
    """Asks for the stored copy of an Archive's AIP to be read again and compared."""


class FixityRequested(Data):
    """Asks for the copies of a package to be read again and compared."""

    package: UUID
    location: Text | None = None


class PremisRecordRequested(Data):
    """Asks the log to record PREMIS events."""

    events: list[dict[str, Any]] = Field(min_length=1, max_length=10_000)


class SipCreated(Data):
    """A harvest wrote a SIP."""

    archive: UUID
    package: PackageReference
    source: Text | None = None
    recid: Text | None = None


class SipAccepted(Data):
    """A SIP was verified and accepted."""

    archive: UUID
    package: PackageReference
    files: int = Field(ge=0)
    warnings: int = Field(0, ge=0)


class SipRejected(Data):
    """A SIP was refused; the reasons are listed in the Archive's timeline."""

    archive: UUID
    code: Text
    message: Text
    findings: int = Field(0, ge=0)


class AipCreated(Data):
    """An AIP was written, read back and verified."""

    archive: UUID
    package: PackageReference
    files: int = Field(ge=0)


class AipArchived(Data):
    """An AIP is on tape: locality, size and ADLER32 were confirmed by the tape system."""

    archive: UUID
    package: UUID
    uri: Text
    adler32: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]


class AipRecalled(Data):
    """An AIP came back from tape and was verified."""

    archive: UUID
    package: PackageReference


class DipPublished(Data):
    """An Archive can be found and used on an access system."""

    archive: UUID
    destination: Text
    url: Text


class ArchiveWithdrawn(Data):
    """A person took an Archive off its access systems; `tell_source` says that its Source shall take it for deleted."""

    archive: UUID
    destinations: list[Text]
    reason: Text
    tell_source: bool = False


class FixityFailed(Data):
    """A copy of a package is no longer what it was."""

    archive: UUID
    package: UUID
    location: Text
    expected: dict[str, str]
    found: dict[str, str]


class StepFailed(Data):
    """A step failed or needs a person."""

    archive: UUID
    step: UUID
    name: Text
    state: Literal["failed", "blocked"]
    code: Text
    message: Text


class ArchiveCompleted(Data):
    """All steps of an Archive's pipeline are done."""

    archive: UUID
    state: Literal["completed", "completed_with_warnings"]
    completed_at: datetime


class PremisRecorded(Data):
    """PREMIS events were recorded in the log."""

    archive: UUID | None = None
    events: list[UUID]


@dataclass(frozen=True, slots=True)
class EventType:
    """One CloudEvent type: its full name, the model of its data, and whether it asks or tells."""

    name: str
    data: type[Data]
    request: bool

    @property
    def description(self) -> str:
        """What it means, in one sentence."""
        return (self.data.__doc__ or "").strip().splitlines()[0]


def _type(thing: str, data: type[Data], *, request: bool) -> EventType:
    return EventType(f"org.perdura.{thing}.v1", data, request)


CATALOGUE: dict[str, EventType] = {
    entry.name: entry
    for entry in (
        _type("harvest.requested", HarvestRequested, request=True),
        _type("harvest.run.requested", HarvestRunRequested, request=True),
        _type("ingest.requested", IngestRequested, request=True),
        _type("preserve.requested", PreserveRequested, request=True),
        _type("preserve.outsized.requested", PreserveOutsizedRequested, request=True),
        _type("archive.requested", ArchiveRequested, request=True),
        _type("recall.requested", RecallRequested, request=True),
        _type("publish.requested", PublishRequested, request=True),
        _type("notify.requested", NotifyRequested, request=True),
        _type("withdraw.requested", WithdrawRequested, request=True),
        _type("fixity.requested", FixityRequested, request=True),
        _type("verify.requested", VerifyRequested, request=True),
        _type("premis.record.requested", PremisRecordRequested, request=True),
        _type("sip.created", SipCreated, request=False),
        _type("sip.accepted", SipAccepted, request=False),
        _type("sip.rejected", SipRejected, request=False),
        _type("aip.created", AipCreated, request=False),
        _type("aip.archived", AipArchived, request=False),
        _type("aip.recalled", AipRecalled, request=False),
        _type("dip.published", DipPublished, request=False),
        _type("archive.withdrawn", ArchiveWithdrawn, request=False),
        _type("fixity.failed", FixityFailed, request=False),
        _type("step.failed", StepFailed, request=False),
        _type("archive.completed", ArchiveCompleted, request=False),
        _type("premis.recorded", PremisRecorded, request=False),
    )
}

TICK = "dev.knative.sources.ping"
"""Type of the ticks of a Knative PingSource: a random id each, so never deduplicated (serverless.md 1.9)."""


def request_type(step: str) -> str:
    """The CloudEvent type that asks for a step."""
    return f"org.perdura.{step}.requested.v1"
