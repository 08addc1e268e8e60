"""How harvesting each source is going."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from perdura.api.models.base import Answer


class SourceHealth(Answer):
    """What was harvested of a source, how that went last, and when it goes on."""

    id: str
    name: str
    url: str | None
    searchable: bool
    requests_per_minute: int = Field(description="Its budget, unless the source itself says another.")
    concurrency: int
    archives: int
    stopped: int = Field(description="Archives of it that failed, were rejected or need attention.")
    last_harvest: datetime | None
    next_harvest: datetime | None = Field(description="When the next schedule is due.")
    health: Literal["good", "failing", "resting", "unused"] = Field(
        description="`failing`: its latest harvest failed; `resting`: it asked to be left alone for a while."
    )
    rests_until: datetime | None
    links: dict[str, str]


class SourceHealthList(Answer):
    """All sources, by id."""

    items: list[SourceHealth]
