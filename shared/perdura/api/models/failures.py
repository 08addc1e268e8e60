"""What has stopped, by cause, and the retry of all of one cause."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from perdura.api.models.base import Answer, PlainText, Request
from perdura.registry.transitions import ArchiveState


class FailuresQuery(Request):
    """How many causes."""

    limit: int = Field(30, ge=1, le=200, description="Causes, the most frequent first.")


class CauseAnswer(Answer):
    """So many Archives stopped by one step for one cause; what the newest of them was told, and when."""

    step: str
    code: str = Field(description="Error code; empty where the step gave none.")
    state: ArchiveState = Field(description="failed, rejected or blocked.")
    archives: int
    message: str
    last: datetime | None
    retriable: bool = Field(description="A rejected package would be rejected again.")


class CauseList(Answer):
    """Causes, the most frequent first."""

    items: list[CauseAnswer]


class CauseRequest(Request):
    """All Archives that one cause has stopped."""

    step: PlainText = Field(min_length=1, max_length=100)
    code: PlainText = Field("", max_length=200)
    state: Literal["failed", "blocked"] = "failed"
