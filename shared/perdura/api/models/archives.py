"""Archives, their packages, copies, files, steps and events, as the API shows them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from perdura.api.models.base import Answer, Checksums, Limit, Page, PlainText, Request, Search
from perdura.api.naming import CollectionId, PackageId
from perdura.api.queries.criteria import Criteria
from perdura.outcome import CopyState, PackageKind, StepState
from perdura.registry.transitions import ArchiveState

StepCondition = Annotated[str, Field(pattern=r"^[a-z]{1,40}(-[a-z]{1,40})?(:[a-z_]{1,40})?$", max_length=100)]
Name = Annotated[PlainText, Field(min_length=1, max_length=200)]


VALUES = 50
"""Values of one criterion at most."""


class ArchiveFilter(Request):
    """Which Archives: all that is given has to hold; of several values of one parameter, any."""

    state: list[ArchiveState] = Field(default_factory=list, max_length=VALUES, description="Any of these states.")
    source: list[Name] = Field(default_factory=list, max_length=VALUES, description="Any of these Sources.")
    origin: list[Name] = Field(
        default_factory=list, max_length=VALUES, description="deposit, upload, harvest or announcement."
    )
    collection: CollectionId | None = Field(None, description="Members of this collection.")
    step: list[StepCondition] = Field(
        default_factory=list,
        description="`name:state` of the last attempt of a step, or a `name` in any state; all have to hold.",
        max_length=10,
    )
    cause: list[Name] = Field(
        default_factory=list, max_length=VALUES, description="Any of these error codes has stopped it."
    )
    format: list[Name] = Field(
        default_factory=list, max_length=VALUES, description="It holds files of any of these PRONOM identifiers."
    )
    created_from: date | None = Field(None, description="Created on this day (UTC) or later.")
    created_to: date | None = Field(None, description="Created on this day (UTC) or before.")
    size_min: int | None = Field(None, ge=0, le=2**62, description="At least so many bytes.")
    size_max: int | None = Field(None, ge=0, le=2**62, description="At most so many bytes.")
    q: Search | None = Field(None, description="Words of title or metadata, or a recid or Archive id.")

    def criteria(self) -> Criteria:
        """The filter as criteria of a query."""
        return Criteria(
            states=tuple(dict.fromkeys(self.state)),
            sources=tuple(dict.fromkeys(self.source)),
            origins=tuple(dict.fromkeys(self.origin)),
            causes=tuple(dict.fromkeys(self.cause)),
            steps=tuple(dict.fromkeys(self.step)),
            formats=tuple(dict.fromkeys(self.format)),
            collection=self.collection,
            created_from=self.created_from,
            created_to=self.created_to,
            size_min=self.size_min,
            size_max=self.size_max,
            text=self.q,
        )

    def given(self) -> dict[str, Any]:
        """What was asked for, as JSON that can be kept."""
        return ArchiveFilter.model_dump(
            self, mode="json", exclude_defaults=True, include=set(ArchiveFilter.model_fields)
        )


class ArchiveQuery(ArchiveFilter, Page):
    """A page of a filtered listing."""


class ArchiveSummary(Answer):
    """An Archive in a listing."""

    id: UUID
    title: str
    state: ArchiveState
    source: str | None
    recid: str | None
    origin: str = Field(description="How it came: deposit, upload, harvest or announcement.")
    restricted: bool
    size: int | None = Field(description="Bytes of its newest AIP, else of its newest SIP.")
    step: str | None = Field(description="The step of its pipeline that it has reached.")
    cause: str | None = Field(description="Error code of what has stopped it.")
    created: datetime
    updated: datetime
    links: dict[str, str]


class ArchivePage(Answer):
    """A page of Archives, newest first."""

    items: list[ArchiveSummary]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class ExportQuery(ArchiveFilter):
    """An export of a filtered listing."""

    type: Literal["csv", "ndjson"] = Field("csv", description="Comma-separated values, or JSON lines.")


class FacetValue(Answer):
    """One value to narrow a list by."""

    value: str
    name: str | None = Field(description="What a format is called, where that is known; null in other facets.")
    count: int


class FacetsAnswer(Answer):
    """How many Archives match, by everything a list can be narrowed by.

    Each facet leaves its own criterion out of account. When `exact` is false, 1,000 of them were counted and all
    counts are lower bounds.
    """

    total: int
    bytes: int
    exact: bool
    facets: dict[str, list[FacetValue]]


class PackageAnswer(Answer):
    """A stored package."""

    id: UUID
    kind: PackageKind
    bucket: str
    key: str
    version: str | None
    container: str
    size: int
    checksums: Checksums
    accepted: bool = Field(description="False for a SIP that was kept but not accepted.")
    created: datetime
    links: dict[str, str]


class CopyAnswer(Answer):
    """One placement of a package."""

    package: UUID
    kind: PackageKind
    location: str = Field(description="The kind of store, for example `object-store` or `tape`.")
    uri: str
    size: int
    checksums: Checksums
    verified: datetime | None = Field(description="When these bytes were last read and found right.")
    state: CopyState = Field(description="`held`, or `lost` or `damaged` once it was found to be.")


class PublicationAnswer(Answer):
    """Where the Archive is published."""

    url: str
    destination: str
    published: datetime


class ErrorAnswer(Answer):
    """Why a step did not succeed."""

    code: str
    message: str


class PlannedStep(Answer):
    """One step of the pipeline and the state of its last attempt; null when its turn has not come."""

    name: str
    state: StepState | None
    attempt: int | None


class ArchiveAnswer(Answer):
    """An Archive with its packages and copies."""

    id: UUID
    title: str
    state: ArchiveState
    source: str | None
    recid: str | None
    origin: str
    restricted: bool
    embargo: date | None = Field(description="The day on which the embargo on its files ends, while there is one.")
    metadata: dict[str, Any]
    created: datetime
    updated: datetime
    packages: list[PackageAnswer]
    copies: list[CopyAnswer]
    pipeline: list[PlannedStep]
    error: ErrorAnswer | None = Field(description="Why it stopped, when its last step failed.")
    publication: PublicationAnswer | None
    publications: list[PublicationAnswer]
    actions: list[str] = Field(description="What may be asked of it now, for example `retry`.")
    links: dict[str, str]


class FindingAnswer(Answer):
    """One reason why a step failed or warned."""

    code: str
    severity: str
    message: str
    path: str | None = None
    clause: str | None = Field(None, description="The clause of the specification that was broken.")


class StepAnswer(Answer):
    """One attempt of one step."""

    id: UUID
    name: str
    position: int
    state: StepState
    attempt: int
    created: datetime
    started: datetime | None
    finished: datetime | None
    error: ErrorAnswer | None
    findings: list[FindingAnswer]
    progress: dict[str, Any] | None
    output: dict[str, Any]
    looks_again: datetime | None = Field(description="When a waiting step asks the outside system again.")


class StepQuery(Page):
    """A page of the attempts of an Archive."""

    limit: Limit = 200


class StepList(Answer):
    """Attempts of steps: by their places in the pipeline, those of one step in the order in which they began."""

    items: list[StepAnswer]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class FileFilter(Page):
    """A page of the payload files of an Archive."""

    package: PackageId | None = Field(None, description="A package of the Archive; default: its newest AIP or SIP.")
    prefix: PlainText | None = Field(None, max_length=1000, description="Only paths that begin like this.")


class FormatAnswer(Answer):
    """What the format of a file was identified as."""

    name: str | None
    puid: str | None = Field(description="PRONOM unique identifier.")
    media_type: str | None


class FileAnswer(Answer):
    """A payload file."""

    path: str
    size: int
    checksums: Checksums
    format: FormatAnswer
    links: dict[str, str] = Field(description="`content` when the file can be read out of its package.")


class FilePage(Answer):
    """A page of files, by path."""

    package: UUID | None
    items: list[FileAnswer]
    next: str | None


class EventQuery(Page):
    """A page of PREMIS events, oldest first."""

    format: Literal["json", "premis"] = Field("json", description="`premis` answers PREMIS 3.0 XML.")


class IdentifierAnswer(Answer):
    """A linking identifier of a PREMIS event."""

    type: str
    value: str
    roles: list[str]


class OutcomeAnswer(Answer):
    """One eventOutcomeInformation."""

    outcome: str
    notes: list[str]


class EventAnswer(Answer):
    """A PREMIS event."""

    id: UUID
    type: str
    at: datetime
    recorded: datetime = Field(description="When the log took it.")
    sealed: bool | None = Field(description="Whether a signed checkpoint covers it already.")
    details: list[str]
    outcomes: list[OutcomeAnswer]
    agents: list[IdentifierAnswer]
    objects: list[IdentifierAnswer]


class EventSearch(Page):
    """Which events of the whole log: all that is given has to hold."""

    type: PlainText | None = Field(None, min_length=1, max_length=200, description="Exactly this eventType.")
    outcome: PlainText | None = Field(None, min_length=1, max_length=200, description="Exactly this eventOutcome.")
    since: date | None = Field(None, description="Of this day (UTC) or later.")
    until: date | None = Field(None, description="Of this day (UTC) or before.")
    object: PlainText | None = Field(None, min_length=1, max_length=200, description="It names this object.")
    agent: PlainText | None = Field(None, min_length=1, max_length=200, description="It names this agent.")


class NamedArchive(Answer):
    """An Archive that an event names."""

    id: UUID
    title: str


class FoundEvent(EventAnswer):
    """An event of the whole log, with the Archives that it names, as far as the caller may see them."""

    archives: list[NamedArchive]


class FoundEventPage(Answer):
    """A page of events, the latest logged first."""

    items: list[FoundEvent]
    next: str | None


class EventPage(Answer):
    """A page of PREMIS events."""

    items: list[EventAnswer]
    next: str | None


class RecallRequest(Request):
    """What to bring back from tape: one `file` by its path in the AIP, or all of it; a `drill` keeps nothing."""

    package: PackageId | None = Field(None, description="A version of the AIP, by its id; without it, that in use.")
    file: PlainText | None = Field(None, min_length=1, max_length=4000)
    drill: bool = False


class RecallAnswer(Answer):
    """The step that brings it back."""

    archive: UUID
    step: UUID
    links: dict[str, str]


class CopyRequest(Request):
    """Which AIP is to get a new copy on tape in place of one that was found lost or damaged."""

    package: PackageId | None = Field(None, description="A version of the AIP, by its id; without it, that in use.")


class CheckRequest(Request):
    """Which copies of the AIP to read again and compare; all of them without `copies`."""

    package: PackageId | None = Field(None, description="A version of the AIP, by its id; without it, that in use.")
    copies: list[Literal["object-store", "tape"]] = Field(default_factory=list, max_length=2)


class CheckAnswer(Answer):
    """The step that checks one copy."""

    step: UUID
    package: UUID
    location: str


class ChecksAnswer(Answer):
    """The steps that check copies; those that were under way already among them."""

    archive: UUID
    items: list[CheckAnswer]
    links: dict[str, str]


class RetryAnswer(Answer):
    """The step that will be run again."""

    archive: UUID
    links: dict[str, str]
