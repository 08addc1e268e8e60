"""What of the files of a record was sent already, kept from invocation to invocation (architecture §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from perdura.packages.long_digest import LongState

ALGORITHMS = ("md5", "sha256")
"""MD5 is what an InvenioRDM tells, SHA-256 what the index of the AIP says."""


class OutOfTime(Exception):
    """The invocation's time is nearly used: the next one goes on from what is noted as sent."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A file that is being sent in parts of `size` bytes: those of which `state` has the digests are there."""

    record: str
    key: str
    size: int
    state: LongState


@dataclass(slots=True)
class Sent:
    """Of one package: the MD5 of each file that is known from its bytes, and the one that is being sent in parts."""

    package: str
    md5: dict[str, str] = field(default_factory=dict)
    begun: Begun | None = None

    @classmethod
    def of_json(cls, package: str, value: Mapping[str, Any] | None) -> Sent:
        """What a checkpoint tells; nothing when it is of another package."""
        if not value or value.get("package") != package:
            return cls(package)
        begun = value.get("begun")
        if begun is None:
            return cls(package, dict(value["md5"]))
        state = LongState(begun["offset"], begun["states"])
        return cls(package, dict(value["md5"]), Begun(begun["record"], begun["key"], begun["size"], state))

    def to_json(self) -> dict[str, Any]:
        """The checkpoint."""
        found: dict[str, Any] = {"package": self.package, "md5": dict(self.md5)}
        if self.begun is not None:
            begun = self.begun
            found["begun"] = {"record": begun.record, "key": begun.key, "size": begun.size, **begun.state.to_json()}
        return found

    def parts_of(self, record: str, key: str, size: int) -> LongState | None:
        """How far that file is, when it was begun in parts of that size."""
        begun = self.begun
        same = begun is not None and (begun.record, begun.key, begun.size) == (record, key, size)
        return begun.state if begun is not None and same else None
