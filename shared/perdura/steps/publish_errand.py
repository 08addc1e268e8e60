"""What is decided of an Archive brought to its records on an InvenioRDM, before and without a look at their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from perdura.clients.destinations import Destination
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmRefused, Wire
from perdura.outcome import ArchiveView
from perdura.ports import Hold, Placed, Placements, Ports
from perdura.steps.publish_access import is_stricter, settle
from perdura.steps.publish_decided import shut_there
from perdura.steps.publish_faults import Faults
from perdura.steps.publish_result import Result, assigned, told


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

    Long work, and faults of every kind, come after it. What cannot be shut keeps nothing else open; raised at the end
    is what `settle` does.
    """
    records, faults = Records(wire), Faults()
    for name in placements.records(destination.id, archive.id):
        hold()
        with faults.kept():
            record = _there(records, name, known)
            if record is not None and is_stricter(wanted, record):
                _given(records, record, wanted, known.details.get("access"), hold)
                known = _noted(archive, destination, known, wanted, placements)
    if (error := faults.lasting()) is not None:
        raise error
    return known


def settled(
    archive: ArchiveView,
    destination: Destination,
    known: Placed,
    wanted: Mapping[str, Any],
    wire: Wire,
    ports: Ports,
    placements: Placements,
    hold: Hold,
) -> Result:
    """Give every record of the Archive, and the draft that curators have, the access that is `wanted`, and no more.

    What cannot be given it is the `error` of the result, and keeps no other record as it was. Nothing is published,
    handed in or sent: that is for the step that was asked to publish.
    Raises RdmGone when the record that was noted last was deleted there, Retryable for what is to be asked again.
    """
    records, ours, faults = Records(wire), known.details.get("access"), Faults()
    given: list[Record] = []
    shut: list[Record] = []
    for name in placements.records(destination.id, archive.id):
        hold()
        with faults.kept():
            record = _there(records, name, known)
            if record is None:
                continue
            shuts = is_stricter(wanted, record)
            record, done = _given(records, record, wanted, ours, hold)
            if shuts:
                known = _noted(archive, destination, known, wanted, placements)
            (given if done else shut).append(record)
    error = faults.lasting()
    gone = next((gone for gone in faults.gone if gone.record == known.record), None)
    if error is None and gone is not None:
        raise gone
    hold()
    current = next((record for record in (*given, *shut) if record.id == known.record and record.published), None)
    if current is not None:
        known = replace(known, state="published")
    if error is None and given and not shut:
        known = replace(known, details={**known.details, "access": wanted})
    placements.note(destination.id, archive.id, known)
    return Result(
        destination.id,
        url=(current.url or f"{destination.url}/records/{current.id}") if current is not None else None,
        error=error,
        output={**(told(current) if current is not None else {"record": known.record}), "access": wanted},
        findings=tuple(shut_there(destination, record) for record in shut),
        events=(assigned(archive, ports, destination.id, wanted, [each.id for each in given]),) if given else (),
    )


def _there(records: Records, name: str, known: Placed) -> Record | None:
    """A record that is published, or the draft that curators may publish at any moment."""
    found = records.record(name)
    if found is None and name == known.record and known.details.get("request"):
        found = records.draft(name) or records.record(name)
    return found


def _given(
    records: Records, record: Record, wanted: Mapping[str, Any], ours: Mapping[str, Any] | None, hold: Hold
) -> tuple[Record, bool]:
    """Settle a record; a draft is looked at again, for curators may have published it at that very moment."""
    try:
        done = settle(records, record, wanted, ours, hold)
    except RdmRefused:
        made = None if record.published else records.record(record.id)
        if made is None:
            raise
    else:
        made = None if record.published else records.record(record.id)
        if made is None:
            return record, done
    return made, settle(records, made, wanted, ours, hold)


def _noted(
    archive: ArchiveView, destination: Destination, known: Placed, wanted: Mapping[str, Any], placements: Placements
) -> Placed:
    known = replace(known, details={**known.details, "access": wanted})
    placements.note(destination.id, archive.id, known)
    return known
