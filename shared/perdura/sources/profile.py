"""A source as data: where it is, how it is asked, what its addresses look like.

`profiles.toml` beside this module describes the known ones; an operator adds or overrides sources in a file of the
same form (setting `harvest_profiles`), without code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from perdura.clients.reach import Reach
from perdura.errors import Broken
from perdura.settings import Settings

Protocol = Literal[
    "inveniordm",
    "marcxml",
    "opendata",
    "indico",
    "gitlab",
    "codimd",
    "oai-pmh",
    "signposting",
    "doi",
    "folder",
    "prefix",
]

Pattern = Annotated[str, Field(max_length=300)]


class Invenio(BaseModel):
    """How a repository of the Invenio family lays out its answers; paths into JSON are dotted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    record: str = "/api/records/{recid}"
    files: str = Field(default="/api/records/{recid}/files", description="File list of its own; empty: in the record.")
    entries: str = "entries"
    link: str = "links.content"
    search: str = "/api/records"


class Profile(BaseModel):
    """One source. `hosts` are allowed beside that of `base_url`; `landing` are patterns of paths with `recid`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,49}$")
    name: str
    protocol: Protocol
    base_url: str = ""
    hosts: tuple[str, ...] = ()
    loopback: bool = Field(False, description="Any port of this machine, when loopback upstreams are allowed.")
    landing: tuple[Pattern, ...] = ()
    recid: Pattern = r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}"
    doi_prefix: str | None = Field(None, description="DOI up to the record id.")
    oai_prefix: str | None = Field(None, description="OAI identifier up to the record id.")
    auth: Literal["none", "bearer", "cookie"] = "none"
    cookie: str | None = Field(None, description="Name of the session cookie, for auth `cookie`.")
    accept: str | None = Field(None, description="Accept header of record requests.")
    requests_per_minute: int = Field(60, ge=1)
    burst: int = Field(20, ge=1)
    concurrency: int = Field(4, ge=1, le=32)
    oai_formats: tuple[str, ...] = Field(
        ("marcxml", "dcat", "oai_datacite", "oai_dc"),
        description="OAI formats that are kept; the first with files counts.",
    )
    oai_path: str | None = Field(None, description="Path of the OAI-PMH endpoint.")
    invenio: Invenio = Invenio()

    @field_validator("base_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("must be an http or https URL")
        return value.rstrip("/")

    @field_validator("landing")
    @classmethod
    def _named(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            if "(?P<recid>" not in pattern:
                raise ValueError("a landing pattern needs the group `recid`")
            re.compile(pattern)
        return value

    def all_hosts(self, base_url: str) -> frozenset[str]:
        """Every host that requests of this source may go to."""
        host = urlsplit(base_url).hostname
        return frozenset(self.hosts) | ({host.lower()} if host else set())

    def reach(self, base_url: str, settings: Settings) -> Reach:
        """What a client of this source may contact."""
        return Reach(self.all_hosts(base_url), allow_loopback=settings.allow_loopback_upstreams)


def _read(text: str, origin: str) -> dict[str, Profile]:
    try:
        profiles = [Profile.model_validate(item) for item in tomllib.loads(text).get("source", [])]
    except (tomllib.TOMLDecodeError, ValidationError, re.error) as error:
        raise Broken(f"{origin} does not describe sources: {error}", code="profiles-unreadable") from error
    return {profile.id: profile for profile in profiles}


@cache
def _built_in() -> Mapping[str, Profile]:
    return _read(resources.files(__package__).joinpath("profiles.toml").read_text("utf-8"), "profiles.toml")


@cache
def _configured(path: str) -> Mapping[str, Profile]:
    try:
        return _read(Path(path).read_text("utf-8"), path)
    except OSError as error:
        raise Broken(f"The file of source profiles cannot be read: {path}", code="profiles-unreadable") from error


def profiles(settings: Settings) -> Mapping[str, Profile]:
    """All sources by id: the built-in ones, overridden and extended by the operator's."""
    own = _configured(settings.harvest_profiles) if settings.harvest_profiles else {}
    return MappingProxyType({**_built_in(), **own})


def of_protocol(protocol: Protocol, settings: Settings) -> list[str]:
    """Ids of the sources that are spoken to in that way."""
    return [profile.id for profile in profiles(settings).values() if profile.protocol == protocol]
