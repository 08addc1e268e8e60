"""Deposits and harvests: how material comes in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from perdura.api.models.base import Answer, Page, PlainText, Request, Sha256, wrong
from perdura.api.models.preservation import PreserveOptions
from perdura.registry.transitions import ArchiveState

LARGEST_DEPOSIT = 5 * 2**40
"""The largest object that S3 knows."""


def _file_name(name: str) -> str:
    if name in {".", ".."} or "/" in name or "\\" in name:
        raise ValueError("a bare file name is wanted, without any folder")
    if len(name.encode()) > 255:
        raise ValueError("longer than 255 bytes")
    return name


FileName = Annotated[PlainText, Field(min_length=1), AfterValidator(_file_name)]


class DepositRequest(Request):
    """The announcement of one package: a BagIt bag as zip, tar or tar.gz.

    `sha256` is compared with what arrives. `parts` asks for an upload in parts, which can be resumed; above 5 GiB it is
    always one.
    """

    filename: FileName
    size: int = Field(ge=1, le=LARGEST_DEPOSIT, description="Bytes that will be sent.")
    sha256: Sha256 | None = None
    title: PlainText | None = Field(None, max_length=500)
    parts: bool = False
    preserve: PreserveOptions | None = None


class UploadAnswer(Answer):
    """How to send the bytes: one request, exactly as described here."""

    method: Literal["PUT"] = "PUT"
    url: str = Field(description="Presigned; whoever knows it may write this one object until it expires.")
    headers: dict[str, str]
    expires: datetime


class DepositCreated(Answer):
    """An announced deposit; `existing` when that very file is here already: nothing is to be sent then."""

    id: UUID
    archive: UUID
    existing: bool = False
    upload: UploadAnswer | None = Field(description="None where the file is sent in parts, or not at all.")
    links: dict[str, str]


class PartsQuery(Request):
    """Which parts to tell of."""

    first: int = Field(1, ge=1, le=10_000)
    limit: int = Field(100, ge=1, le=1_000)


class PartAnswer(Answer):
    """One part: the bytes `offset` to `offset + size` of the file."""

    number: int
    offset: int
    size: int
    received: bool
    url: str | None = Field(description="Send the part there by `PUT`; None when it has arrived.")


class PartsAnswer(Answer):
    """An upload in parts: send those that have not arrived, in any order, then complete the deposit."""

    count: int
    part_size: int
    received: int
    items: list[PartAnswer]
    next: int | None = Field(description="Number of the part to ask for next.")
    expires: datetime


class DepositAnswer(Answer):
    """A deposit and what has become of it."""

    id: UUID
    archive: UUID
    filename: str
    size: int | None
    sha256: str | None
    created: datetime
    received: datetime | None
    state: ArchiveState = Field(description="State of its Archive.")
    duplicate_of: UUID | None = Field(description="The Archive with the same content before, where the caller sees it.")
    links: dict[str, str]


class DepositQuery(Page):
    """Which deposits are wanted."""

    waiting: bool = Field(False, description="Only those whose bytes are still waited for.")


class DepositPage(Answer):
    """Deposits, newest first."""

    items: list[DepositAnswer]
    next: str | None


class Accepted(Answer):
    """Work was begun; the Archive shows how it goes."""

    archive: UUID
    links: dict[str, str]


class HarvestRequest(Request):
    """What to harvest: any `url` of a record, or a `source` and its `recid`."""

    url: PlainText | None = Field(None, min_length=1, max_length=2000)
    source: PlainText | None = Field(None, min_length=1, max_length=200)
    recid: PlainText | None = Field(None, min_length=1, max_length=500)
    warc: bool = Field(False, description="Keep the landing page as WARC beside the metadata.")
    metadata_only: bool = Field(False, description="Do without files that are closed.")
    engine: Literal["bagit-create"] | None = Field(None, description="Harvest with CERN's program instead of our own.")
    preserve: PreserveOptions | None = None

    @model_validator(mode="after")
    def _one_way(self) -> HarvestRequest:
        if (self.url is None) == (self.source is None and self.recid is None):
            raise wrong("send either `url`, or `source` and `recid`", "url", "source", "recid")
        if self.url is None and (self.source is None or self.recid is None):
            raise wrong("`source` and `recid` belong together", "source", "recid")
        return self


class HarvestQuery(Request):
    """How much of it."""

    light: bool = Field(False, description="A package that names its files (`fetch.txt`), to be completed later.")


class ResolveRequest(Request):
    """A URL, DOI or identifier that somebody pasted."""

    url: PlainText = Field(min_length=1, max_length=2000)


class ResolvedFile(Answer):
    """A file that a harvest would fetch."""

    path: str
    size: int | None
    checksum: str | None = None


class ResolveAnswer(Answer):
    """The record that was recognised, and what is known of it before it is harvested."""

    source: str
    recid: str
    url: str
    title: str | None
    files: list[ResolvedFile]
    size: int | None = Field(description="Bytes of all files together, when the source says so.")
    archives: list[UUID] = Field(description="Archives of the same Resource that are here already.")
