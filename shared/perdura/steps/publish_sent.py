"""What of the files of a record was sent already, kept from invocation to invocation (architecture §3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from perdura.packages.long_digest import START, LongState

ALGORITHMS = ("md5", "sha256")
"""MD5 is what an InvenioRDM tells, SHA-256 what the index of the AIP says."""

SOONEST, LATEST = timedelta(seconds=30), timedelta(minutes=10)
"""Between two looks at what a server is at work on: as long as it took already, within these."""


class OutOfTime(Exception):
    """The invocation's time is nearly used: the next one goes on from what is noted as sent."""


class AtWork(Exception):
    """The server computes or fetches what is there otherwise: it is looked at again after `look_after`."""

    def __init__(self, keys: Collection[str], since: timedelta) -> None:
        super().__init__(", ".join(sorted(keys)))
        self.keys = sorted(keys)
        self.look_after = min(max(since, SOONEST), LATEST)


@dataclass(frozen=True, slots=True)
class Begun:
    """A file that is being sent in parts of `size` bytes: those of which `state` has the digests are there."""

    record: str
    key: str
    size: int
    state: LongState


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is read to know its MD5, and how far that is."""

    key: str
    state: LongState


@dataclass(slots=True)
class Sent:
    """Of one package: the MD5 of each file that is known from its bytes, and how far the server and we are."""

    package: str
    md5: dict[str, str] = field(default_factory=dict)
    begun: Begun | None = None
    reading: Reading | None = None
    awaited: dict[str, str] = field(default_factory=dict)
    """Files that the server computes the MD5 of, or fetches, and since when (ISO 8601)."""
    unfetched: set[str] = field(default_factory=set)
    """Files that the server did not bring when it was asked to fetch them: they are sent."""
    spoilt: dict[str, int] = field(default_factory=dict)
    """How often other bytes than those that were sent lay there after the commit."""
    zipping: Mapping[str, Any] | None = None
    """How far the zip is that shall be sent (`dip_zip`)."""

    @classmethod
    def of_json(cls, package: str, value: Mapping[str, Any] | None) -> Sent:
        """What a checkpoint tells; nothing when it is of another package."""
        if not value or value.get("package") != package:
            return cls(package)
        begun, reading = value.get("begun"), value.get("reading")
        return cls(
            package,
            dict(value["md5"]),
            Begun(begun["record"], begun["key"], begun["size"], _state(begun)) if begun else None,
            Reading(reading["key"], _state(reading)) if reading else None,
            dict(value.get("awaited", {})),
            set(value.get("unfetched", ())),
            dict(value.get("spoilt", {})),
            value.get("zipping"),
        )

    def to_json(self) -> dict[str, Any]:
        """The checkpoint."""
        found: dict[str, Any] = {"package": self.package, "md5": dict(self.md5)}
        if self.begun is not None:
            begun = self.begun
            found["begun"] = {"record": begun.record, "key": begun.key, "size": begun.size, **begun.state.to_json()}
        if self.reading is not None:
            found["reading"] = {"key": self.reading.key, **self.reading.state.to_json()}
        more: dict[str, Any] = {
            "awaited": dict(self.awaited),
            "unfetched": sorted(self.unfetched),
            "spoilt": dict(self.spoilt),
        }
        more["zipping"] = self.zipping
        return {**found, **{name: value for name, value in more.items() if value}}

    def parts_of(self, record: str, key: str, size: int) -> LongState | None:
        """How far that file is, when it was begun in parts of that size."""
        begun = self.begun
        same = begun is not None and (begun.record, begun.key, begun.size) == (record, key, size)
        return begun.state if begun is not None and same else None

    def read_of(self, key: str) -> LongState:
        """How far that file was read, when its MD5 is still to be known."""
        return self.reading.state if self.reading is not None and self.reading.key == key else START

    def note_awaited(self, keys: Collection[str], now: datetime) -> None:
        """Note what the server is at work on now, and nothing else."""
        self.awaited = {key: self.awaited.get(key, now.isoformat()) for key in keys}

    def awaited_for(self, key: str, now: datetime) -> timedelta:
        """For how long the server is at work on a file; nothing when it is not known to be."""
        since = self.awaited.get(key)
        return now - datetime.fromisoformat(since) if since is not None else timedelta()


def _state(value: Mapping[str, Any]) -> LongState:
    return LongState(value["offset"], value["states"])
