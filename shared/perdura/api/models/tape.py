"""Tape, for operators: the destination, its jobs, drills, credentials."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from perdura.api.models.base import Answer, Page, PlainText, Request

Priority = Annotated[int, Field(ge=1, le=5, description="1 (last) to 5 (first).")]


class PauseRequest(Request):
    """Why nothing new is to be submitted."""

    reason: PlainText = Field(min_length=1, max_length=500)


class PriorityRequest(Request):
    """Another priority of a job."""

    priority: Priority


class PauseAnswer(Answer):
    """A pause that holds."""

    by: str
    reason: str
    since: datetime


class CredentialsAnswer(Answer):
    """Our credentials as `archive-cta` last saw them."""

    holder: str | None = Field(description="Name of the certificate (DN), or `token`.")
    expires: datetime | None
    days_left: float | None = Field(description="Days until the certificate expires.")
    proxy_expires: datetime | None = Field(description="When the proxy that FTS holds ends.")
    error: str | None
    checked: datetime


class DrillAnswer(Answer):
    """A restore drill of one copy: recalled from tape, read and verified, not kept."""

    archive: UUID
    step: UUID
    state: str
    finished: datetime | None


class RestoredAnswer(Answer):
    """A recalled copy that lies in the object store for a while."""

    archive: UUID
    step: UUID
    bucket: str
    key: str
    bytes: int
    expires: datetime


class TapeAnswer(Answer):
    """The destination as a whole."""

    pause: PauseAnswer | None
    in_flight: int = Field(description="Jobs that are open at FTS.")
    limit: int = Field(description="Jobs that may be open at once; 0: no limit.")
    waiting: dict[str, int] = Field(description="Archives that wait for tape, by what they wait for.")
    copies: int = Field(description="Copies on tape, without those that were found lost or damaged.")
    broken_copies: int = Field(description="Copies that were found lost or damaged and have not been made again.")
    bytes: int
    containers: int
    oldest_verification: datetime | None = Field(description="When the copy verified longest ago was verified.")
    drills: list[DrillAnswer] = Field(description="The latest restore drills, newest first.")
    next_drill: datetime | None
    restored: list[RestoredAnswer] = Field(description="Recalled copies in the object store, the next to go first.")
    credentials: CredentialsAnswer | None


class TapeJobQuery(Page):
    """Which jobs to list."""

    open: bool | None = Field(None, description="Only jobs in flight (true), or only those that are over (false).")


class TapeRetryAnswer(Answer):
    """An attempt of the tape system's own that failed before another."""

    attempt: int
    at: datetime
    reason: str
    host: str | None
    log_file: str | None


class TapeJobAnswer(Answer):
    """One job asked of the tape system."""

    key: str
    job: UUID | None
    archive: UUID | None
    container: UUID | None
    path: str
    size: int
    priority: int
    state: str
    reason: str | None
    file_state: str | None = Field(description="State of the file in the tape system's own words.")
    log_file: str | None = Field(description="Where the tape system keeps the log of its last attempt.")
    retries: list[TapeRetryAnswer] = Field(description="Attempts of its own that failed, the first one first.")
    server: str | None = Field(description="The FTS server that has the job.")
    holder: str | None = Field(description="The name under which that server knows us.")
    wanted_priority: int | None
    cancelled_by: str | None
    intended: datetime
    submitted: datetime | None
    looked_at: datetime | None
    ended: datetime | None
    monitor: str | None = Field(description="The job in FTS's own monitor.")


class TapeJobPage(Answer):
    """A page of jobs."""

    items: list[TapeJobAnswer]
    next: str | None
