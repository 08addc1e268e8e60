"""Schedules, their runs, and the records that a run found."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from perdura.api.models.base import Answer, Moment, Page, PlainText, Request
from perdura.api.naming import CollectionId
from perdura.registry.run_states import ItemState, RunState, ScheduleState
from perdura.steps.harvest_schedule import Counts

Name = Annotated[PlainText, Field(min_length=1, max_length=200)]
Cron = Annotated[
    PlainText,
    Field(
        max_length=100, description="Five fields in UTC (minute, hour, day, month, weekday), or `@daily` and the like."
    ),
]
Query = Annotated[PlainText, Field(max_length=2000, description="A search in the syntax of the source.")]
Pipeline = Annotated[list[PlainText], Field(min_length=1, max_length=10)]
RecordLimit = Annotated[
    int, Field(ge=1, le=10_000_000, description="Records harvested by one run; the rest is left to the next.")
]
Concurrency = Annotated[int, Field(ge=1, le=100, description="Records harvested at the same time.")]
Overlap = Annotated[int, Field(ge=0, le=30 * 86400, description="Seconds a window reaches back into the one before.")]
Grace = Annotated[int, Field(ge=0, le=30 * 86400, description="Seconds the end of a window stays behind the present.")]
FailureShare = Annotated[float, Field(ge=0, le=1, description="Share of failures above which a run pauses.")]
FailuresAtLeast = Annotated[int, Field(ge=1, le=100_000, description="Failures before that share counts.")]


class ScheduleRequest(Request):
    """A recurring harvest: what, from where, when, how much at once."""

    name: Name
    source: PlainText = Field(min_length=1, max_length=50)
    way: Literal["search", "oai-pmh"] = Field("search", description="How the source is asked for what changed.")
    query: Query = ""
    set: PlainText | None = Field(None, max_length=500, description="OAI-PMH set; none: all records.")
    follows: Literal["updated", "created"] = Field("updated", description="Which time puts a record into a window.")
    cron: Cron
    since: Moment | None = Field(None, description="Begin with records from here on; none: from the beginning.")
    pipeline: Pipeline | None = Field(None, description="Steps of each Archive; none: the standard harvest.")
    collection: CollectionId | None = Field(None, description="Collection that the Archives join.")
    record_limit: RecordLimit | None = None
    concurrency: Concurrency = 4
    overlap_seconds: Overlap = 600
    grace_seconds: Grace = 300
    failures_at_least: FailuresAtLeast = 10
    failure_share: FailureShare = 0.25
    base_url: PlainText | None = Field(
        None, max_length=500, description="Address of the instance, for sources that have none of their own."
    )
    paused: bool = False


class ScheduleChange(Request):
    """The members of a schedule that are to change."""

    name: Name | None = None
    query: Query | None = None
    set: PlainText | None = Field(None, max_length=500)
    follows: Literal["updated", "created"] | None = None
    cron: Cron | None = None
    pipeline: Pipeline | None = None
    collection: CollectionId | None = None
    record_limit: RecordLimit | None = None
    concurrency: Concurrency | None = None
    overlap_seconds: Overlap | None = None
    grace_seconds: Grace | None = None
    failures_at_least: FailuresAtLeast | None = None
    failure_share: FailureShare | None = None


class BatchAnswer(Answer):
    """A slice of a run: a window of time that is listed on its own."""

    number: int
    starts: datetime | None
    ends: datetime
    total: int | None = Field(description="Records of the window, when the source says so; null as `counts` is.")
    pages: int
    listed: datetime | None


class RunAnswer(Answer):
    """One execution of a schedule."""

    id: UUID
    schedule: UUID
    state: RunState
    reason: str | None = Field(description="Why it stands still, or what the source last said.")
    ends: datetime = Field(description="End of its window.")
    counts: Counts | None = Field(
        description="Its records by what became of them, restricted ones among them; null for callers from whom "
        "restricted Archives may be hidden."
    )
    created: datetime
    listed: datetime | None
    finished: datetime | None
    links: dict[str, str]


class RunDetail(RunAnswer):
    """One execution of a schedule with its batches."""

    batches: list[BatchAnswer]


class ScheduleAnswer(Answer):
    """A recurring harvest, and its latest run."""

    id: UUID
    name: str
    source: str
    way: Literal["search", "oai-pmh"]
    query: str
    set: str | None
    follows: Literal["updated", "created"]
    cron: str
    state: ScheduleState
    reason: str | None = Field(description="Why it cannot run, whatever its state.")
    pipeline: list[str]
    collection: UUID | None = Field(description="Null too where the collection is hidden from the caller.")
    record_limit: int | None
    concurrency: int
    overlap_seconds: int
    grace_seconds: int
    failures_at_least: int
    failure_share: float
    base_url: str | None
    owner: str = Field(description="Who made it; its harvests use this person's credentials.")
    done_until: datetime | None = Field(description="Every record changed before this instant has been queued.")
    next: datetime | None = Field(description="When it is due next; none while it is paused or retired.")
    created: datetime
    updated: datetime
    last_run: RunAnswer | None
    links: dict[str, str]


class SchedulePage(Answer):
    """Schedules, newest first."""

    items: list[ScheduleAnswer]
    next: str | None


class ScheduleQuery(Page):
    """Which schedules are wanted."""

    state: ScheduleState | None = Field(None, description="None: all that are not retired.")


class RunPage(Answer):
    """Runs, newest first."""

    items: list[RunAnswer]
    next: str | None


class RunQuery(Page):
    """Paging through runs."""


class ItemQuery(Page):
    """Which records of a run are wanted."""

    state: ItemState | None = None


class ItemAnswer(Answer):
    """One record of a run."""

    recid: str
    source: str
    title: str | None
    revision: str
    state: ItemState
    batch: int
    archive: UUID | None
    error: str | None
    message: str | None
    updated: datetime


class ItemPage(Answer):
    """Records of a run in the order in which they were listed."""

    items: list[ItemAnswer]
    next: str | None


class RunChanged(Answer):
    """What was done to a run: its state now, and how many records were moved."""

    run: UUID
    state: RunState
    items: int = 0
    links: dict[str, str]
