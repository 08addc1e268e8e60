"""What is decided of an Archive brought to its records on an InvenioRDM, before and without a look at their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from perdura.clients.destinations import Destination
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, Wire
from perdura.outcome import ArchiveView, Package
from perdura.ports import Hold, Placed, Placements, Ports
from perdura.steps.publish_access import is_stricter, settle
from perdura.steps.publish_body import package_id
from perdura.steps.publish_decided import earlier, shut_there
from perdura.steps.publish_result import Result, assigned


def shut_first(
    archive: ArchiveView,
    destination: Destination,
    known: Placed,
    wanted: Mapping[str, Any],
    wire: Wire,
    placements: Placements,
    hold: Hold,
) -> Placed:
    """Shut what is more open than `wanted`; what is noted of the Archive after that.

    Long work, and faults of every kind, come after it. Raises what `settle` does.
    """
    for record in _there(archive, destination, known, wire, placements):
        if is_stricter(wanted, record):
            settle(Records(wire), record, wanted, known.details.get("access"), hold)
            known = replace(known, details={**known.details, "access": wanted})
            placements.note(destination.id, archive.id, known)
    return known


def _there(
    archive: ArchiveView, destination: Destination, known: Placed, wire: Wire, placements: Placements
) -> Iterator[Record]:
    """Every published record of the Archive, and the draft that curators may publish at any moment."""
    records = Records(wire)
    for name in placements.records(destination.id, archive.id):
        with suppress(RdmGone):
            found = records.record(name)
            if found is None and name == known.record and known.details.get("request"):
                found = records.draft(name)
            if found is not None:
                yield found


def settled(
    archive: ArchiveView,
    aip: Package,
    destination: Destination,
    known: Placed,
    wanted: Mapping[str, Any],
    wire: Wire,
    ports: Ports,
    placements: Placements,
    hold: Hold,
) -> Result | None:
    """Give the published record of this AIP, and those of earlier ones, the access that is `wanted`.

    None where that record is not published: there is more to be done then. Raises RdmGone, and what `settle` does.
    """
    records, ours = Records(wire), known.details.get("access")
    record = records.record(known.record)
    if record is None or not record.identifies(package_id(aip)):
        return None
    done = settle(records, record, wanted, ours, hold)
    changed = [record.id]
    for each in earlier(archive, destination, record, wire, placements):
        done &= settle(records, each, wanted, ours, hold)
        changed.append(each.id)
    hold()
    details = {**known.details, "access": wanted} if done else known.details
    placements.note(destination.id, archive.id, replace(known, state="published", details=details))
    output = {"record": record.id, "parent": record.parent, "version": record.index, "doi": record.doi}
    return Result(
        destination.id,
        url=record.url or f"{destination.url}/records/{record.id}",
        output={**output, "oai": record.oai, "access": wanted},
        findings=() if done else (shut_there(destination, record),),
        events=(assigned(archive, ports, destination.id, wanted, changed),) if done else (),
    )
