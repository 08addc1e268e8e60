"""The plan of a harvest: what the upstream said, and which bytes are to be fetched from where to where.

A plan is written before anything is transferred and never changed afterwards, so that a harvest can be continued by
another worker and explained years later (harvesting.md 6.1).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from perdura.clients.connections import Headers
from perdura.clients.http import Answer, UpstreamRefused, recorded, redacted
from perdura.errors import Broken
from perdura.sources.legible import written
from perdura.sources.names import distinct_paths

VERSION = 1
"""Version of the JSON form of a plan."""


class Moved(Exception):
    """The record lives at another address now, perhaps in another source: recognise `url` instead."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Preparing(Exception):
    """The upstream makes the files ready (an export): ask again after so many `seconds`."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(what)
        self.what = what
        self.seconds = seconds


class UpstreamDeleted(UpstreamRefused):
    """The upstream deleted the record and says so. `capture` is what it left in its place, as received."""

    code = "upstream-deleted"

    def __init__(self, message: str, capture: Capture) -> None:
        super().__init__(message)
        self.capture = capture


@dataclass(frozen=True, slots=True)
class Capture:
    """One answer of the upstream as received. `name` is its file name below `data/meta/`."""

    name: str
    url: str
    status: int
    headers: Headers
    at: datetime
    body: bytes

    @classmethod
    def of(cls, answer: Answer, name: str) -> Capture:
        """Keep an answer; what is secret in its address and headers is left out."""
        return cls(name, redacted(answer.url), answer.status, recorded(answer.headers), answer.at, answer.body)


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """One file as the upstream describes it: its own name (`key`), where it is, what it declares of it.

    `checksums` maps algorithm names (`md5`, `sha1`, `sha256`, `sha512`, `adler32`) to lower-case hex.
    """

    key: str
    url: str
    size: int | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None
    title: str | None = None
    optional: bool = False
    made_anew: bool = False


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file to be fetched, and its path in the bag. `renamed` says why that differs from `key`.

    An `optional` file is made by the upstream on demand (a PDF of a note); without it the harvest is complete, with a
    warning.

    One that is `made_anew` for each harvest (an export) says nothing of whether the record changed.
    """

    key: str
    url: str
    path: str
    size: int | None
    checksums: Mapping[str, str]
    media_type: str | None
    title: str | None
    renamed: str | None
    optional: bool = False
    made_anew: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something the record names that is not fetched, and why (a link, a preview image)."""

    key: str
    url: str
    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Files that exist and may not be read: `restricted` or `embargoed`, and until when."""

    status: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a harvest of one record will do.

    `revision` changes whenever the upstream's record does; `parent` is the id its versions share. `metadata` is the
    short description for people (creators, publisher, date …); the complete one is in `captures`, the first of
    which is the record itself.
    """

    source: str
    recid: str
    url: str
    title: str
    captures: tuple[Capture, ...]
    files: tuple[PlannedFile, ...]
    revision: str | None = None
    parent: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    restricted: bool = False
    closed: Closed | None = None
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> int | None:
        """Sum of the declared sizes in bytes; None when one is missing."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def planned(files: Iterable[UpstreamFile]) -> tuple[PlannedFile, ...]:
    """Give every file its path in the bag."""
    files = list(files)
    names = distinct_paths([file.key for file in files])
    return tuple(
        PlannedFile(
            key=file.key,
            url=file.url,
            path=f"data/content/{name.path}",
            size=file.size,
            checksums=dict(file.checksums),
            media_type=file.media_type,
            title=file.title,
            renamed=name.reason,
            optional=file.optional,
            made_anew=file.made_anew,
        )
        for file, name in zip(files, names, strict=True)
    )


def to_json(plan: Plan, *, public: bool = False) -> bytes:
    """The plan as JSON, UTF-8: see `to_value`."""
    return written(to_value(plan, public=public))


def to_value(plan: Plan, *, public: bool = False) -> dict[str, Any]:
    """The plan as an object of JSON. Bodies that are text stay readable, others are base64.

    The `public` form is for the SIP: without bodies, which lie beside it as files, and without secrets in addresses.
    """
    return {
        "version": VERSION,
        "source": plan.source,
        "recid": plan.recid,
        "url": redacted(plan.url),
        "title": plan.title,
        "revision": plan.revision,
        "parent": plan.parent,
        "metadata": dict(plan.metadata),
        "restricted": plan.restricted,
        "closed": None if plan.closed is None else {"status": plan.closed.status, "until": _text(plan.closed.until)},
        "captures": [_capture_json(capture, with_body=not public) for capture in plan.captures],
        "files": [
            {
                "key": file.key,
                "url": redacted(file.url) if public else file.url,
                "path": file.path,
                "size": file.size,
                "checksums": dict(file.checksums),
                "media_type": file.media_type,
                "title": file.title,
                "renamed": file.renamed,
                "optional": file.optional,
                "made_anew": file.made_anew,
            }
            for file in plan.files
        ],
        "skipped": [{"key": s.key, "url": redacted(s.url), "reason": s.reason} for s in plan.skipped],
        "warnings": list(plan.warnings),
    }


def from_json(data: bytes) -> Plan:
    """Read a plan back; raises Broken when it is of another version or not a plan."""
    try:
        return from_value(json.loads(data))
    except ValueError as error:
        raise Broken("The stored plan of this harvest cannot be read.") from error


def from_value(value: Any) -> Plan:
    """Make a plan of what `to_value` gave; raises Broken when it is of another version or not a plan."""
    try:
        if value["version"] != VERSION:
            raise Broken(f"The plan is of version {value['version']}, this program reads version {VERSION}.")
        closed = value["closed"]
        return Plan(
            source=value["source"],
            recid=value["recid"],
            url=value["url"],
            title=value["title"],
            revision=value["revision"],
            parent=value["parent"],
            metadata=value["metadata"],
            restricted=value["restricted"],
            closed=None if closed is None else Closed(closed["status"], _time(closed["until"])),
            captures=tuple(_capture(item) for item in value["captures"]),
            files=tuple(PlannedFile(**item) for item in value["files"]),
            skipped=tuple(Skipped(**item) for item in value["skipped"]),
            warnings=tuple(value["warnings"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Broken("The stored plan of this harvest cannot be read.") from error


def _capture_json(capture: Capture, *, with_body: bool) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": capture.name,
        "url": capture.url,
        "status": capture.status,
        "headers": [list(pair) for pair in capture.headers],
        "at": capture.at.isoformat(),
    }
    if not with_body:
        return value
    try:
        return value | {"body": capture.body.decode("utf-8")}
    except UnicodeDecodeError:
        return value | {"body_base64": base64.b64encode(capture.body).decode("ascii")}


def _capture(value: Mapping[str, Any]) -> Capture:
    body = value["body"].encode() if "body" in value else base64.b64decode(value["body_base64"], validate=True)
    headers = tuple((name, text) for name, text in value["headers"])
    return Capture(value["name"], value["url"], value["status"], headers, datetime.fromisoformat(value["at"]), body)


def _text(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)
