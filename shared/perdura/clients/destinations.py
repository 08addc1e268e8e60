"""Where preserved material is published and who is told of it: configuration, not code.

`PERDURA_ACCESS` names a TOML file with `[[destination]]` and `[[notification]]` tables (docs/access.md). Without one
there is a single destination, the built-in access pages. Secrets are never in that file: it names environment
variables or files that hold them.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from perdura.errors import Broken

ACCESS_PAGES = "access-pages"
"""Destination of the built-in access pages."""

WHERE_PUBLISHED = "published"
"""What the step `publish` is told (`where`) that brings a decision to where an Archive is, and nowhere else."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,49}$")]
Glob = Annotated[str, Field(min_length=1, max_length=300)]


class Selection(BaseModel):
    """Which Archives an entry is for: by Source and by Collection; an empty list means all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()

    def selects(self, source: str | None, collections: Collection[str]) -> bool:
        """Whether an Archive of that Source, in those Collections, is meant."""
        by_source = not self.sources or any(fnmatchcase(source or "", pattern) for pattern in self.sources)
        return by_source and (not self.collections or any(name in collections for name in self.collections))


class Secret(BaseModel):
    """A secret by reference: the name of an environment variable, or of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file")
        return self

    def read(self) -> str:
        """The secret; raises Broken when it is not there."""
        try:
            value = os.environ.get(self.env, "") if self.env else Path(self.file or "").read_text("utf-8")
        except OSError as error:
            raise Broken(f"The secret in {self.file} cannot be read.", code="secret-missing") from error
        if not value.strip():
            raise Broken(f"There is no secret in {self.env or self.file}.", code="secret-missing")
        return value.strip()


class Choice(BaseModel):
    """Which files of an AIP make up its DIP, and what they are called in it.

    Patterns are shell patterns on paths below `data/objects/`; `exclude` wins. `names` is `keep`, or `flat` for file
    names without their folders. `copies` says which of an original and what was made of it: `all`, `originals`,
    `access` for its access copy, `normalised` for the file it was migrated to; itself where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: tuple[Glob, ...] = ("*",)
    exclude: tuple[Glob, ...] = ()
    names: Literal["keep", "flat"] = "keep"
    copies: Literal["all", "originals", "access", "normalised"] = "all"


class Destination(Selection):
    """One access system and the policy by which Archives are published on it."""

    id: Name
    type: Literal["access-pages", "inveniordm"]
    url: str = ""
    token: Secret | None = None
    ca: str | None = Field(default=None, description="PEM file of the certification authority.")
    upload_hosts: tuple[str, ...] = Field(
        default=(), description="host:port of the S3 storage behind it, for parts of files."
    )

    content: Literal["metadata", "dip", "aip"] = "dip"
    dip: Choice = Choice()
    container: Literal["files", "zip"] = Field(default="files", description="How a DIP is sent: its files, or one zip.")
    most_files: int = Field(default=100, ge=1, description="More files than the instance takes are sent as one zip.")
    multipart_above: int = Field(default=100 * 2**20, ge=1, description="Bytes above which a file is sent in parts.")
    part_size: int = Field(default=64 * 2**20, ge=1)
    fetch: bool = Field(
        default=False, description="Let the server fetch whole packages from the object store (type F)."
    )

    restricted: Literal["withhold", "restrict"] = Field(
        default="withhold", description="What to do with restricted Archives."
    )
    record_access: Literal["public", "restricted"] = "public"
    files_access: Literal["public", "restricted"] = "public"
    community: str | None = None
    review: bool = False
    doi: Literal["none", "external", "registered"] = Field(
        default="none",
        description="`external`: the Source's DOI is the record's own; `registered`: the instance has to make one.",
    )
    naming: Literal["custom-fields", "identifiers"] = Field(
        default="identifiers",
        description="Where our ids stand in a record; custom fields must be declared by the instance.",
    )
    publisher: str | None = None
    resource_type: str = Field(default="dataset", description="For what has no resource type of its own.")

    @property
    def system(self) -> str:
        """What several entries have in common that are for one access system; who publishes there locks by it."""
        return self.url or self.id

    @field_validator("url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _complete(self) -> Destination:
        if self.type == "inveniordm" and not (self.url and self.token):
            raise ValueError("an inveniordm destination needs url and token")
        if self.type == "access-pages" and self.id != ACCESS_PAGES:
            raise ValueError(f"the built-in access pages are called {ACCESS_PAGES}")
        if self.review and not self.community:
            raise ValueError("review needs a community")
        return self


class Notification(Selection):
    """Who is told what became of an Archive, and how."""

    id: Name
    type: Literal["preservation-sync", "webhook", "cloudevents", "coar-notify"]
    url: str = Field(pattern=r"^https?://")
    token: Secret | None = Field(default=None, description="Bearer token of the receiver.")
    secret: Secret | None = Field(
        default=None, description="Key that signs webhooks and CloudEvents (Standard Webhooks)."
    )
    statuses: tuple[Literal["I", "P", "F", "D"], ...] = ("I", "P", "F", "D")


class AccessConfiguration(BaseModel):
    """The file as a whole."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    destination: tuple[Destination, ...] = (Destination(id=ACCESS_PAGES, type="access-pages"),)
    notification: tuple[Notification, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> AccessConfiguration:
        systems = [entry for entry in self.destination if entry.id != ACCESS_PAGES]
        for entries in (systems, self.notification):
            names = [entry.id for entry in entries]
            if len(set(names)) != len(names):
                raise ValueError("two entries have the same id")
        return self

    def destinations(
        self, source: str | None, collections: Collection[str], placed: Collection[str] = ()
    ) -> Sequence[Destination]:
        """Where an Archive is to be published, in the order of the file; `placed` are the entries by which it was.

        Of several entries for one system only the first: there it has one record, by one policy. A record that it has
        there by another entry stays what that one made of it; who may see it is decided by the first all the same.
        """
        meant: dict[str, Destination] = {}
        for entry in self.destination:
            if entry.selects(source, collections):
                meant.setdefault(entry.system, entry)
        return [self._as_placed(entry, placed) for entry in meant.values()]

    def _as_placed(self, entry: Destination, placed: Collection[str]) -> Destination:
        before = [each for each in self.destination if each.system == entry.system and each.id in placed]
        if entry.id in placed or not before:
            return entry
        today = {
            "restricted": entry.restricted,
            "record_access": entry.record_access,
            "files_access": entry.files_access,
        }
        return before[0].model_copy(update=today)

    def alike(self, name: str) -> frozenset[str]:
        """The ids of all entries for the access system of that entry; its own when it is configured no longer."""
        systems = {entry.system for entry in self.destination if entry.id == name}
        return frozenset({name, *(entry.id for entry in self.destination if entry.system in systems)})

    def notifications(self, source: str | None, collections: Collection[str], status: str) -> Sequence[Notification]:
        """Who is to be told that an Archive reached a status."""
        return [entry for entry in self.notification if status in entry.statuses and entry.selects(source, collections)]


@cache
def access_configuration(path: str | None) -> AccessConfiguration:
    """The configuration in a file, read once; raises Broken when it cannot be understood."""
    if path is None:
        return AccessConfiguration()
    try:
        return AccessConfiguration.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise Broken(f"{path} does not describe access systems: {error}", code="access-unreadable") from error
