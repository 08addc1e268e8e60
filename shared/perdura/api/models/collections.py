"""Collections of Archives."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from perdura.api.models.archives import FacetsAnswer
from perdura.api.models.base import Answer, Page, PlainText, Request, Search
from perdura.api.naming import ArchiveId


def _trimmed(name: str) -> str:
    if name.strip() != name:
        raise ValueError("blanks at its ends are not allowed")
    return unicodedata.normalize("NFC", name)


CollectionName = Annotated[PlainText, Field(min_length=1, max_length=255), AfterValidator(_trimmed)]
"""However its accents are written, it is the same name."""


class CollectionRequest(Request):
    """A collection to be made."""

    name: CollectionName
    description: PlainText = Field("", max_length=5000)
    restricted: bool = Field(False, description="Only those see it to whom it was granted.")


class CollectionChange(Request):
    """What is to be changed of a collection; what is left out stays."""

    name: CollectionName | None = None
    description: PlainText | None = Field(None, max_length=5000)
    restricted: bool | None = None


class CollectionQuery(Page):
    """A page of collections."""

    q: Search | None = Field(None, description="Part of the name.")


class CollectionAnswer(Answer):
    """A collection."""

    id: UUID
    name: str
    description: str
    restricted: bool
    archives: int = Field(description="Members that the caller may see; at most 10,000 are counted.")
    created: datetime
    links: dict[str, str]


class CollectionPage(Answer):
    """A page of collections, by name."""

    items: list[CollectionAnswer]
    next: str | None


class MembersRequest(Request):
    """Archives to be added or taken out. For all that match a filter, make a job `collect`."""

    archives: list[ArchiveId] = Field(min_length=1, max_length=10_000)


class MembersAnswer(Answer):
    """How many memberships have changed."""

    changed: int


class CollectionSummary(FacetsAnswer):
    """A collection in numbers."""

    id: UUID
    name: str
