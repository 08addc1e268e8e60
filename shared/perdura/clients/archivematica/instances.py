"""The Archivematicas of an installation: a TOML file with one table `[[instance]]` each (docs/archivematica.md)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from perdura.errors import Broken

Url = Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$", max_length=500)]
Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class Instance(BaseModel):
    """One dashboard with its Storage Service, and how much it is trusted with at a time.

    A transfer source is a bucket (`source_bucket`, its location's relative path as `source_prefix`) or a directory
    that both sides have mounted (`source_directory`). AIPs are read from the bucket of the S3 space (`aip_bucket`), or
    else through the Storage Service.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    dashboard_url: Url
    dashboard_user: str = Field(min_length=1, max_length=100)
    dashboard_key: SecretStr
    storage_url: Url
    storage_user: str = Field(min_length=1, max_length=100)
    storage_key: SecretStr
    ca: str | None = None
    configuration: str = Field("automated", pattern=r"^\w{1,16}$")
    source_location: Uuid
    source_bucket: str | None = None
    source_prefix: str = Field("", pattern=r"^([A-Za-z0-9._-]+/)*$")
    source_directory: Path | None = None
    aip_bucket: str | None = None
    aip_place: Literal["stay", "copy"] = "stay"
    """Whether an AIP in `aip_bucket` is kept where Archivematica put it, or copied to our own bucket."""
    packages: int = Field(5, ge=1, le=50)
    bytes: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_source(self) -> Instance:
        if (self.source_bucket is None) == (self.source_directory is None):
            raise ValueError("either source_bucket or source_directory is wanted")
        return self


def read_instances(path: str | None) -> tuple[Instance, ...]:
    """The instances in the order of the file; none without a file. Raises Broken for one that cannot be used."""
    if path is None:
        return ()
    try:
        found = tomllib.loads(Path(path).read_text("utf-8"))
        instances = tuple(Instance.model_validate(each) for each in found.get("instance", ()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Broken(f"The file of Archivematicas cannot be read: {error}", code="archivematica-settings") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Broken(
            f"An Archivematica is not described well: {where}: {first['msg']}", code="archivematica-settings"
        ) from None
    if len({instance.name for instance in instances}) != len(instances):
        raise Broken("Two Archivematicas have one name.", code="archivematica-settings")
    return instances
