"""withdraw: an Archive is taken off its access systems; what is preserved stays, and a tombstone tells why.

Only a person asks for it, with a reason of InvenioRDM's vocabulary. A record that is gone already is as good.
"""

from __future__ import annotations

from contextlib import suppress

from perdura.clients.destinations import ACCESS_PAGES, access_configuration
from perdura.clients.inveniordm.records import Records
from perdura.clients.inveniordm.wire import RdmGone
from perdura.errors import Broken, Rejected
from perdura.outcome import ArchiveView, Fact, Outcome
from perdura.ports import Placed, Ports
from perdura.premis.model import SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps.publish import Connect, connect
from perdura.steps.publish_result import SOFTWARE, authorizer


def run(archive: ArchiveView, ports: Ports, connect: Connect = connect) -> Outcome:
    """Withdraw from the destination that the input names, or from all where the Archive was published.

    Input: `by` (who asked for it), `reason`, `note`, `destination` for one of them, and `tell_source` when the Source
    is to be told that it is deleted (status D). Raises Rejected for what was never published there, Broken when the
    access system does not let us (only its administrators may delete).
    """
    placements = ports.placements
    if placements is None:
        raise Broken("The withdrawal needs the registry.", code="no-registry")
    told = archive.step.input
    reason, note = str(told.get("reason") or "out-of-scope"), str(told.get("note") or "")
    withdrawn: list[str] = []
    for destination in access_configuration(ports.settings.access).destination:
        if told.get("destination") not in (None, destination.id):
            continue
        known = placements.known(destination.id, archive.id)
        if known is None or destination.id in withdrawn:
            continue
        if destination.id != ACCESS_PAGES:
            with connect(destination) as wire, suppress(RdmGone):
                Records(wire).delete(known.record, reason, note)
        tombstone = {"reason": reason, "note": note, "at": ports.clock.now().isoformat()}
        placements.note(
            destination.id,
            archive.id,
            Placed(
                known.record, "withdrawn", {**known.details, "reason": reason, "note": note, "tombstone": tombstone}
            ),
        )
        withdrawn.append(destination.id)
    if not withdrawn:
        raise Rejected("The Archive was not published there.", code="not-published")
    return Outcome(
        output={"withdrawn": withdrawn, "reason": reason, "note": note},
        events=(_event(archive, withdrawn, reason, note, ports),),
        facts=(
            Fact(
                "org.perdura.archive.withdrawn.v1",
                {
                    "archive": str(archive.id),
                    "destinations": withdrawn,
                    "reason": f"{reason}: {note}" if note else reason,
                    "tell_source": told.get("tell_source") is True,
                },
            ),
        ),
    )


def _event(archive: ArchiveView, withdrawn: list[str], reason: str, note: str, ports: Ports) -> Event:
    return Event(
        id=ports.derived("premis/withdrawal"),
        type="policy assignment",
        at=ports.clock.now(),
        details=(f"Withdrawn from access at {', '.join(withdrawn)}: {reason}",),
        outcomes=(EventOutcome(SUCCESS, (note,) if note else ()),),
        agents=(*authorizer(archive), SOFTWARE),
        objects=(Identifier("UUID", str(archive.id)),),
    )
