"""Harvests as the API shows them: what was asked for, and how the fetching of it goes."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from perdura.api.models.archives import VALUES, ErrorAnswer, Name
from perdura.api.models.base import Answer, Page
from perdura.outcome import StepState
from perdura.registry.transitions import ArchiveState


class HarvestsQuery(Page):
    """Which harvests: all that is given has to hold; of several values of one parameter, any."""

    state: list[ArchiveState] = Field(
        default_factory=list, max_length=VALUES, description="Their Archives are in any of these states."
    )
    source: list[Name] = Field(default_factory=list, max_length=VALUES, description="Any of these Sources.")


class HarvestAsked(Answer):
    """What a harvest was asked to fetch: an address, or a record of a Source; and how."""

    url: str | None
    source: str | None
    recid: str | None
    light: bool
    warc: bool
    metadata_only: bool
    engine: str | None


class HarvestAnswer(Answer):
    """A harvest: the first step of an Archive, which has its id."""

    archive: UUID
    title: str
    asked: HarvestAsked
    source: str | None = Field(description="Of the record that was recognised, as soon as it was.")
    recid: str | None
    state: StepState = Field(description="Of the fetching.")
    attempt: int
    progress: dict[str, Any] | None
    error: ErrorAnswer | None
    archive_state: ArchiveState
    created: datetime
    started: datetime | None
    finished: datetime | None
    links: dict[str, str]


class HarvestPage(Answer):
    """A page of harvests, newest first."""

    items: list[HarvestAnswer]
    next: str | None = Field(description="Cursor of the next page; null on the last.")
