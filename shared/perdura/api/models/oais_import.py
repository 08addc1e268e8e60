"""What the API of a CERN OAIS platform tells of its archives (cern-oais-platform.md 10), as far as we take it over."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from perdura.api.models.base import PlainText, Request
from perdura.api.models.collections import CollectionName

Short = Annotated[PlainText, Field(max_length=500)]


def _stripped(name: Any) -> Any:
    return name.strip() if isinstance(name, str) else name


class OaisStep(BaseModel):
    """A step there; its number of status is that of the peer."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    name: Short
    status: int
    start_date: datetime | None = None
    finish_date: datetime | None = None
    failure_type: Short | None = None


class OaisArchive(BaseModel):
    """An archive there, with the steps and the names of the collections that belong to it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int = Field(ge=0)
    source: Short
    recid: Short
    title: PlainText = Field("", max_length=2000)
    source_url: PlainText | None = Field(None, max_length=2000)
    restricted: bool = True
    timestamp: datetime | None = None
    path_to_sip: PlainText | None = Field(None, max_length=1024)
    path_to_aip: PlainText | None = Field(None, max_length=1024)
    steps: list[OaisStep] = Field(default_factory=list, max_length=200)
    collections: list[Annotated[CollectionName, BeforeValidator(_stripped)]] = Field(
        default_factory=list, max_length=100
    )


class OaisImportRequest(Request):
    """Archives of one installation; their SIPs lie in `bucket`, at their paths without `base`, and their AIPs.

    Where AIPs lie elsewhere, `aip_bucket` and `aip_base` say so. With `aips` false all are made anew of the SIPs.
    """

    origin: PlainText = Field(min_length=1, max_length=200, description="Address of the installation they come from.")
    bucket: PlainText = Field(min_length=3, max_length=63, description="One of announce_buckets.")
    base: PlainText = Field("", max_length=1024, description="What the paths there begin with and the keys do not.")
    aips: bool = Field(True, description="Whether AIPs made there are taken over as they are.")
    aip_bucket: PlainText | None = Field(None, min_length=3, max_length=63, description="One of announce_buckets.")
    aip_base: PlainText | None = Field(None, max_length=1024)
    archives: list[OaisArchive] = Field(min_length=1, max_length=1000)
