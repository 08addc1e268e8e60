"""The PREMIS events of a recall: recovery from tape and the fixity check of what came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from perdura import __version__
from perdura.ids import derived_id
from perdura.outcome import ArchiveView, Package
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier, Outcome
from perdura.storage.store import ObjectRef

SOFTWARE = Identifier("software", f"perdura/{__version__} archive-cta", ("executing program",))

READ_BACK = "read from "
"""How the detail of a recovery begins."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What came from tape: bytes and digests as found and as expected, and where it was put."""

    size: int
    expected_size: int
    found: Mapping[str, str]
    expected: Mapping[str, str]
    ref: ObjectRef | None

    @property
    def wrong(self) -> list[str]:
        """What is not as it should be, in words."""
        differences = [
            f"{name} is {self.found.get(name)}, not {value}"
            for name, value in self.expected.items()
            if self.found.get(name) != value
        ]
        if self.size != self.expected_size:
            differences.insert(0, f"{self.size} bytes, not {self.expected_size}")
        return differences


def recalled(
    archive: ArchiveView, aip: Package, at: datetime, uri: str, result: Recalled, *, file: str | None
) -> tuple[Event, ...]:
    """What a recall or a drill that went well leaves in the log."""
    what = f"file {file}" if file else "whole package"
    kept = f"kept as {result.ref.bucket}/{result.ref.key}" if result.ref else "restore drill: read, hashed, not kept"
    digests = ", ".join(sorted(result.found)) or "no digest known"
    return (
        _event(archive, aip, at, "recovery", "recovery", (f"{READ_BACK}{uri}: {what}", kept), SUCCESS, ()),
        _event(
            archive,
            aip,
            at,
            "recall-fixity",
            "fixity check",
            (f"{what} as read from tape against the registry",),
            SUCCESS,
            (f"{result.size} bytes; {digests} as expected",),
        ),
    )


def failed(archive: ArchiveView, aip: Package, at: datetime, uri: str, code: str, message: str) -> Event:
    """A recall that did not succeed."""
    return _event(
        archive, aip, at, "recovery-failed", "recovery", (f"{READ_BACK}{uri}",), FAILURE, (f"{code}: {message}",)
    )


def lost_with(archive: ArchiveView, at: datetime, uri: str, *, owner: UUID, package: UUID) -> Event:
    """That a recall of `archive` found the container lost in which the AIP `package` of the Archive `owner` lies.

    Who sees the one Archive may not see the other: the step of its recall is known by the id of the event alone.
    """
    message = "lost-on-tape: The container with this AIP is lost, as the recall of another AIP in it found out."
    return Event(
        id=derived_id("premis", archive.step.id, archive.step.attempt, "lost-with", package),
        type="recovery",
        at=at,
        details=(f"{READ_BACK}{uri}",),
        outcomes=(Outcome(FAILURE, (message,)),),
        agents=(SOFTWARE,),
        objects=(Identifier("UUID", str(package), ("source",)), Identifier("UUID", str(owner))),
    )


def _event(
    archive: ArchiveView,
    aip: Package,
    at: datetime,
    name: str,
    kind: str,
    details: tuple[str, ...],
    outcome: str,
    notes: tuple[str, ...],
) -> Event:
    return Event(
        id=derived_id("premis", archive.step.id, archive.step.attempt, name),
        type=kind,
        at=at,
        details=details,
        outcomes=(Outcome(outcome, tuple(note[:2000] for note in notes)),),
        agents=(SOFTWARE,),
        objects=(Identifier("UUID", str(aip.id), ("source",)), Identifier("UUID", str(archive.id))),
    )
