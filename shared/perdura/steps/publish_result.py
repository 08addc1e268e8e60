"""What became of an Archive at one destination, and the event that tells of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from perdura import __version__
from perdura.clients.inveniordm.model import Record
from perdura.errors import PerduraError, Retryable
from perdura.outcome import ArchiveView, Finding, Package
from perdura.ports import Placed, Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier, Outcome

SOFTWARE = Identifier("software", f"perdura/{__version__} publish", ("executing program",))


def authorizer(archive: ArchiveView) -> tuple[Identifier, ...]:
    """The person who asked for a step beside the pipeline, if one did."""
    by = archive.step.input.get("by")
    return (Identifier("account", str(by), ("authorizer",)),) if by else ()


@dataclass(frozen=True, slots=True)
class Result:
    """`url` when it is published, `error` when it failed, `look_at` when it is to be looked at again: somebody there
    has to accept it first, or (`at_work`) its server computes or fetches.
    """

    destination: str
    url: str | None = None
    look_at: datetime | None = None
    at_work: bool = False
    error: PerduraError | None = None
    output: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    events: tuple[Event, ...] = ()
    packages: tuple[Package, ...] = ()
    sent: Mapping[str, Any] | None = None
    """What is known of its files while there is more to be done: at once, or when `look_at` or `later` say so."""
    later: Retryable | None = None
    failure: Event | None = None
    """The event that tells that it failed, recorded when the step ends."""

    @property
    def is_recorded(self) -> bool:
        """Whether it is at its end with something that is recorded, and must not be recorded again by this step."""
        unfinished = self.sent is not None or self.look_at is not None or self.later is not None
        return self.error is None and not unfinished and bool(self.url or self.events)

    @property
    def goes_on(self) -> bool:
        """Whether the next invocation has to go on with it at once."""
        return self.sent is not None and self.error is None and self.later is None and self.look_at is None


def placed(record: Record, request: str | None, access: object = None) -> Placed:
    """What the registry notes of a record or draft: the `request` for its review, the `access` that we gave it."""
    state = "published" if record.published else "in-review" if request else "draft"
    details = {
        "url": record.url,
        "parent": record.parent,
        "doi": record.doi,
        "oai": record.oai,
        "request": request,
        "access": access,
    }
    return Placed(record.id, state, {name: value for name, value in details.items() if value})


def told(record: Record) -> Mapping[str, Any]:
    """What the output of a step tells of a record."""
    return {
        "record": record.id,
        "parent": record.parent,
        "version": record.index,
        "doi": record.doi,
        "oai": record.oai,
    }


def disseminated(
    archive: ArchiveView,
    aip: Package,
    ports: Ports,
    destination: str,
    detail: str,
    outcome: str,
    *notes: str,
    more: tuple[Identifier, ...] = (),
) -> Event:
    """The event of a publication, or of one that did not come about."""
    return Event(
        id=ports.derived(f"premis/dissemination {destination}"),
        type="dissemination",
        at=ports.clock.now(),
        details=(detail,),
        outcomes=(Outcome(outcome, notes),),
        agents=(*authorizer(archive), SOFTWARE),
        objects=(Identifier("UUID", str(aip.id), ("source",)), Identifier("UUID", str(archive.id)), *more),
    )


def assigned(
    archive: ArchiveView, ports: Ports, destination: str, access: Mapping[str, Any], records: Sequence[str]
) -> Event:
    """The event of a decision about who may see records that are there already."""
    embargo = access.get("embargo") or {}
    until = f" until {embargo['until']}" if embargo.get("active") else ""
    return Event(
        id=ports.derived(f"premis/access {destination}"),
        type="policy assignment",
        at=ports.clock.now(),
        details=(f"At {destination} the record is {access['record']}, its files are {access['files']}{until}",),
        outcomes=(Outcome(SUCCESS, ("the record was read back; its files were not read",)),),
        agents=(*authorizer(archive), SOFTWARE),
        objects=(
            Identifier("UUID", str(archive.id)),
            *(Identifier("InvenioRDM record", record, ("outcome",)) for record in records),
        ),
    )


def failed(
    archive: ArchiveView,
    aip: Package,
    destination: str,
    error: PerduraError,
    ports: Ports,
    made: tuple[tuple[Package, ...], tuple[Event, ...]] = ((), ()),
) -> Result:
    """A destination that was not reached; what was `made` for it (DIPs, events) is kept for the next try."""
    packages, events = made
    event = disseminated(archive, aip, ports, destination, "not published", FAILURE, f"{error.code}: {error.message}")
    return Result(destination, error=error, events=events, packages=packages, failure=event)
