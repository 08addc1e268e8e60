"""How Archives are preserved: wishes, versions of AIPs, Archivematicas."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from perdura.api.models.base import Answer, PlainText, Request, Sha256
from perdura.api.naming import PackageId, PlainId

Instance = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


_COMPONENT = 255
"""Bytes of a file's name that every file system takes."""


def _inside(path: str) -> str:
    parts = path.split("/")
    if any(part in {"", ".", ".."} for part in parts) or "\\" in path:
        raise ValueError("a relative path without empty, `.` or `..` components is wanted")
    if any(len(part.encode()) > _COMPONENT for part in parts):
        raise ValueError(f"a component of a path has {_COMPONENT} bytes at most")
    return path


def _distinct(files: list[AddedFile]) -> list[AddedFile]:
    paths = [file.path for file in files]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is given twice")
    return files


FilePath = Annotated[PlainText, Field(min_length=1, max_length=900), AfterValidator(_inside)]


class PreserveOptions(Request):
    """How an AIP is to be made; what is left out is as the installation has it.

    `profile` is the layout that the built-in engine writes: its own, or an E-ARK package. `instance` and
    `configuration` are the Archivematica and its processing configuration.
    """

    engine: Literal["builtin", "archivematica", "a3m"] | None = None
    profile: Literal["perdura", "eark"] | None = None
    instance: Instance | None = None
    configuration: str | None = Field(None, pattern=r"^\w{1,16}$")

    def wish(self) -> dict[str, Any]:
        """What was said, as it is kept."""
        return self.model_dump(exclude_none=True)


class AddedFile(Request):
    """A file that a new version has besides: uploaded before; `derived_from` is the path it was migrated from."""

    upload: PlainId
    path: FilePath
    size: int = Field(ge=0)
    sha256: Sha256
    derived_from: FilePath | None = None


class UploadRequest(Request):
    """The announcement of one file for a new version."""

    size: int = Field(ge=0, le=5 * 2**30)


class FileUpload(Answer):
    """Where to send the bytes of a file, by one PUT."""

    upload: UUID
    url: str
    expires: datetime


class VersionRequest(Request):
    """A new version of an AIP: why, and what is to be different."""

    reason: PlainText = Field(min_length=1, max_length=500)
    title: PlainText | None = Field(None, max_length=500)
    metadata: dict[str, Any] | None = Field(
        None, description="Members that replace those of the Archive's metadata; not who may see it."
    )
    files: Annotated[list[AddedFile], AfterValidator(_distinct)] = Field(default_factory=list, max_length=1000)
    preserve: PreserveOptions | None = None


class VersionBegun(Answer):
    """A new version is being made."""

    archive: UUID
    links: dict[str, str]


class VersionAnswer(Answer):
    """One version of an AIP. `chosen` is the one in use; `predecessor` the AIP it was made from."""

    package: UUID
    number: int
    predecessor: UUID | None
    reason: str
    chosen: bool
    size: int
    created: datetime


class VersionList(Answer):
    """All versions, oldest first."""

    items: list[VersionAnswer]


class ChangedFile(Answer):
    """One file in which two versions differ."""

    kind: Literal["added", "removed", "changed", "moved"]
    path: str
    was: str | None = None


class VersionComparison(Request):
    """The version to compare with."""

    to: PackageId


class VersionDifference(Answer):
    """How two versions differ, by path."""

    old: UUID
    new: UUID
    items: list[ChangedFile] = Field(description="At most 10,000 files.")
    more: bool = Field(description="Whether more files differ than are shown.")


class InstanceAnswer(Answer):
    """One Archivematica: whether new work goes to it, how it behaves, what is in flight there."""

    name: str
    mode: Literal["active", "draining", "paused", "trial"]
    reason: str
    paused_until: datetime | None
    failures: int
    reachable: bool
    version: str | None
    checked: datetime | None
    packages: int = Field(description="Packages in flight.")
    bytes: int = Field(description="Their bytes.")


class InstanceList(Answer):
    """All Archivematicas, by name."""

    items: list[InstanceAnswer]


class InstanceChange(Request):
    """`active` takes work, `draining` finishes what it has, `paused` is not given any either and counts as resting."""

    mode: Literal["active", "draining", "paused"]
    reason: PlainText = Field("", max_length=500)
