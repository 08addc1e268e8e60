"""What people decide of an Archive while it is published, and after: looked at again, and carried to what is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from perdura.clients.destinations import Destination, access_configuration
from perdura.clients.inveniordm.model import Record
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone, Wire
from perdura.errors import Broken, Retryable
from perdura.outcome import ArchiveView, Finding
from perdura.ports import Placed, Placements, Ports, Standing
from perdura.registry import embargo
from perdura.steps.publish_access import SHUT, settle
from perdura.steps.publish_body import resource_id
from perdura.steps.publish_faults import Faults
from perdura.steps.publish_result import Result, assigned
from perdura.steps.publish_unknown import known_or_found
from perdura.steps.withdraw_record import throw_away


def as_decided(archive: ArchiveView, destination: Destination, placements: Placements, ports: Ports) -> None:
    """Look again at what people may have decided since the work began; raises Retryable when it has to begin anew."""
    standing, known = placements.standing(archive.id), placements.known(destination.id, archive.id)
    now = ports.clock.now()
    asked = (archive.restricted, embargo.ends(archive.metadata, now))
    changed = standing is not None and (standing.restricted, embargo.ends(standing.metadata, now)) != asked
    withdrawn = (known is not None and known.state == "withdrawn") or is_withdrawn(destination.id, standing, ports)
    if changed or withdrawn:
        raise Retryable(
            "What may be seen of the Archive was decided anew meanwhile.", code="decided-anew", retry_after=1
        )


def is_withdrawn(destination: str, standing: Standing | None, ports: Ports) -> bool:
    """Whether a person withdrew the Archive from there; by which of several entries for one system is all the same."""
    return standing is not None and standing.withdrawn_from(alike(destination, ports))


def may_begin(archive: ArchiveView, destination: Destination, ports: Ports) -> None:
    """Raise Broken where an Archive is not published yet and the version before it stands withdrawn: then a person
    decides, not a machine.
    """
    placements = ports.placements
    if placements is None or archive.metadata.get("published_by_hand") is True:
        return
    known = placements.known(destination.id, archive.id)
    begun = known is not None and known.state in {"published", "in-review"}
    if not begun and placements.withdrawn_before(alike(destination.id, ports), archive.id):
        raise Broken(
            "The version of this Resource before it stands withdrawn from there. Nothing is published of it until a "
            "person wants it published all the same.",
            code="earlier-version-withdrawn",
        )


def alike(destination: str, ports: Ports) -> frozenset[str]:
    """The ids of all entries for the access system of that entry."""
    return access_configuration(ports.settings.access).alike(destination)


def earlier(
    archive: ArchiveView, destination: Destination, record: Record, wire: Wire, placements: Placements
) -> Iterator[Record]:
    """Published records of earlier AIPs of the Archive."""
    for name in placements.records(destination.id, archive.id):
        if name != record.id:
            with suppress(RdmGone):
                found = Records(wire).record(name)
                if found is not None:
                    yield found


def withheld(
    archive: ArchiveView, destination: Destination, wire: Wire, placements: Placements, ports: Ports, why: str
) -> Result:
    """What is restricted or withdrawn is not brought there: what is there is shut, and what was begun thrown away,
    also where the registry does not know it.

    What cannot be shut keeps nothing else open, and is the `error` of the result; raises Retryable for what is to be
    asked again.
    """
    shut: list[str] = []
    faults = Faults()
    with placements.hold(destination.system, resource_id(archive)) as held:
        records, known = Records(wire), known_or_found(archive, destination, wire, held)
        for name in held.records(destination.id, archive.id):
            held.confirm()
            with faults.kept():
                record = records.record(name) or _begun(records, name, known)
                if record is not None:
                    settle(records, record, SHUT, None, held.confirm)
                    shut.append(name)
        if shut and known is not None:
            state = "published" if known.record in shut else known.state
            held.note(
                destination.id, archive.id, replace(known, state=state, details={**known.details, "access": SHUT})
            )
    output = {"withheld": why, **({"restricted": shut} if shut else {})}
    events = (assigned(archive, ports, destination.id, SHUT, shut),) if shut else ()
    return Result(destination.id, error=faults.lasting(), output=output, events=events)


def _begun(records: Records, name: str, known: Placed | None) -> Record | None:
    """Throw away what was not published; gives the record that curators made of it at that very moment."""
    draft = records.draft(name)
    if draft is None:
        return records.record(name)
    throw_away(records, draft, known.details.get("request") if known is not None and known.record == name else None)
    return records.record(name)


def shut_there(destination: Destination, record: Record) -> Finding:
    message = f"The record {record.id} is less open than decided here; somebody shut it there, and it stays so."
    return Finding("access-stricter", message, "warning", destination.id)
