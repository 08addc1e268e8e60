"""What a run records of records it does not fetch: unchanged since their last harvest, or deleted upstream."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from perdura import __version__
from perdura.ids import derived_id
from perdura.premis.model import SUCCESS, Event, Identifier, Outcome
from perdura.steps.harvest_schedule import Item


def unchanged(run: UUID, source: str, item: Item, archive: UUID, at: datetime) -> Event:
    """A record is listed under the revision in which we have it."""
    detail = f"{source} {item.recid} was listed again, revision {item.revision}"
    return _event("unchanged", run, source, item, archive, at, detail, "unchanged: no new submission package")


def deleted(run: UUID, source: str, item: Item, archive: UUID, at: datetime) -> Event:
    """The upstream no longer has a record that we have: our packages stay (harvesting.md 6.12)."""
    detail = f"{source} {item.recid} is listed as deleted, {item.revision}"
    return _event("deleted", run, source, item, archive, at, detail, "deleted upstream: our packages stay")


def _event(kind: str, run: UUID, source: str, item: Item, archive: UUID, at: datetime, detail: str, note: str) -> Event:
    return Event(
        id=derived_id("premis", kind, run, source, item.recid, item.revision),
        type="capture",
        at=at,
        details=(detail,),
        outcomes=(Outcome(SUCCESS, (note,)),),
        agents=(Identifier("software", f"perdura/{__version__} harvest", ("executing program",)),),
        objects=(Identifier("UUID", str(archive)),),
    )
