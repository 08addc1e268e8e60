"""Acts on Archives, one or many: plans, jobs, pipelines."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from perdura.api.models.archives import ArchiveFilter
from perdura.api.models.base import Answer, Page, PlainText, Request, wrong
from perdura.api.naming import ArchiveId, CollectionId
from perdura.registry.transitions import FOLLOWERS

StepName = Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]
BulkAct = Literal["retry", "skip", "cancel", "run", "collect", "take-out"]


class RunRequest(Request):
    """Steps to run behind a finished pipeline."""

    steps: list[StepName] = Field(min_length=1, max_length=10)


class ActAnswer(Answer):
    """What was asked for was done; the Archive shows how it goes."""

    archive: UUID
    links: dict[str, str]


class JobRequest(Request):
    """One act on many Archives: those of a `filter`, or those of a list."""

    act: BulkAct
    filter: ArchiveFilter | None = None
    archives: list[ArchiveId] | None = Field(None, min_length=1, max_length=10_000)
    steps: list[StepName] = Field(default_factory=list, max_length=10, description="Of the act `run`.")
    collection: CollectionId | None = Field(None, description="Of the acts `collect` and `take-out`.")

    @model_validator(mode="after")
    def _complete(self) -> JobRequest:
        if (self.filter is None) == (self.archives is None):
            raise wrong("send either `filter` or `archives`", "filter", "archives")
        if (self.act == "run") != bool(self.steps):
            raise wrong("`steps` belong to the act `run`", "steps")
        known = frozenset[str]().union(*FOLLOWERS.values())
        if not known.issuperset(self.steps):
            raise wrong(f"steps that can be run are {', '.join(sorted(known))}", "steps")
        for before, after in pairwise(self.steps):
            if after not in FOLLOWERS[before]:
                raise wrong(f"{after!r} cannot follow {before!r}", "steps")
        if (self.act in {"collect", "take-out"}) != (self.collection is not None):
            raise wrong("`collection` belongs to the acts `collect` and `take-out`", "collection")
        return self


class PlanAnswer(Answer):
    """What a job would do: nothing was done yet."""

    act: str
    total: int = Field(description="Archives that match.")
    eligible: int = Field(description="Those of them for which the act makes sense now.")
    fits: bool = Field(description="False: it makes sense for more than the 200,000 of one job; narrow the filter.")
    states: dict[str, int] = Field(description="State → Archives that match.")
    steps: list[str] = Field(description="Steps that would be run, in this order.")


class JobAnswer(Answer):
    """A job and how far it is."""

    id: UUID
    act: str
    input: dict[str, Any]
    state: Literal["queued", "running", "completed", "cancelled"]
    total: int
    done: int
    failed: int
    waits_for: str | None = Field(description="What was in its way when it was last worked on; it goes on by itself.")
    created_by: str
    created: datetime
    finished: datetime | None
    links: dict[str, str]


class JobPage(Answer):
    """A page of jobs, newest first."""

    items: list[JobAnswer]
    next: str | None


class JobItemQuery(Page):
    """A page of a job's items."""

    state: Literal["queued", "done", "failed"] | None = None


class JobItemAnswer(Answer):
    """One thing of a job."""

    position: int
    archive: UUID | None
    subject: str
    state: Literal["queued", "done", "failed"]
    code: str | None
    message: str | None


class JobItemPage(Answer):
    """A page of a job's items, in their order."""

    items: list[JobItemAnswer]
    next: str | None


class PipelineRequest(Request):
    """A pipeline to be kept under its name."""

    steps: list[StepName] = Field(min_length=1, max_length=20)
    description: PlainText = Field("", max_length=1000)


class PipelineAnswer(Answer):
    """A named pipeline."""

    name: str
    steps: list[str]
    description: str
    links: dict[str, str]


class PipelineList(Answer):
    """All pipelines, by name."""

    items: list[PipelineAnswer]


class PipelinePlanRequest(Request):
    """Steps of which a pipeline might be made."""

    steps: list[StepName] = Field(max_length=20)


class PipelinePlanAnswer(Answer):
    """Whether the steps form a pipeline, and how it could go on."""

    legal: bool
    reason: str | None
    next: list[str] = Field(description="Steps that may follow the last one.")
