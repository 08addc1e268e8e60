"""Announcing packages that lie in the object store already: one, or thousands at once."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from perdura.api.models.base import PlainText, Request, Sha256, wrong
from perdura.api.naming import CollectionId

MOST = 10_000


def _key(key: str) -> str:
    if key.startswith("/") or "//" in key or any(part in {".", ".."} for part in key.split("/")):
        raise ValueError("not the key of an object")
    return key


Key = Annotated[PlainText, Field(min_length=1, max_length=1024), AfterValidator(_key)]


class AnnouncedPackage(Request):
    """One package: a zip, tar or tar.gz of a bag."""

    key: Key
    sha256: Sha256 | None = None
    title: PlainText | None = Field(None, max_length=500)


class AnnouncementRequest(Request):
    """Packages to be ingested: those listed, or every zip, tar and tar.gz below a prefix."""

    bucket: PlainText = Field(
        min_length=3, max_length=63, description="The drop zone, or a bucket of announce_buckets."
    )
    packages: list[AnnouncedPackage] | None = Field(None, min_length=1, max_length=MOST)
    prefix: Key | None = None
    collection: CollectionId | None = Field(None, description="The Archives join this collection.")

    @model_validator(mode="after")
    def _one_way(self) -> AnnouncementRequest:
        if (self.packages is None) == (self.prefix is None):
            raise wrong("send either `packages` or `prefix`", "packages", "prefix")
        return self
