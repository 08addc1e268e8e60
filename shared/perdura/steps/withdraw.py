"""withdraw: an Archive is taken off its access systems; what is preserved stays, and a tombstone tells why.

Only a person asks for it, with a reason of InvenioRDM's vocabulary. Every access system is taken by itself: what one of
them refuses keeps the Archive on no other. Our own pages come first, and show it no longer from that moment on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from perdura.clients.destinations import ACCESS_PAGES, AccessConfiguration, Destination, access_configuration
from perdura.errors import Broken, PerduraError, Rejected, Retryable
from perdura.outcome import ArchiveView, Fact, Finding, Outcome, StepState
from perdura.ports import Placed, Placements, Ports
from perdura.premis.model import SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps.publish import Connect, connect
from perdura.steps.publish_access import SHUT
from perdura.steps.publish_body import resource_id
from perdura.steps.publish_faults import Faults, together
from perdura.steps.publish_result import SOFTWARE, assigned, authorizer
from perdura.steps.publish_unknown import known_or_found
from perdura.steps.withdraw_record import NotDeleted, take_back


def run(archive: ArchiveView, ports: Ports, connect: Connect = connect) -> Outcome:
    """Withdraw from the destination that the input names, or from all where the Archive is or was about to be.

    Input: `by` (who asked for it), `reason`, `note`, `destination` for one of them, and `tell_source` when the Source
    is to be told that it is deleted (status D). BLOCKED, by name, when it is still public somewhere, or was shut and
    not deleted (only the administrators of an InvenioRDM may delete). What is nowhere yet is done with the decision,
    which stands already; where nothing is noted of it, its records are looked up first.
    Raises Rejected for what was never published at a destination that there is none of, Retryable when one has to be
    asked again later, whatever another refused.
    """
    placements = ports.placements
    if placements is None:
        raise Broken("The withdrawal needs the registry.", code="no-registry")
    wanted = archive.step.input.get("destination")
    configuration = access_configuration(ports.settings.access)
    names = configuration.alike(wanted) if wanted else None
    placed = {name: each for name, each in placements.everywhere(archive.id).items() if not names or name in names}
    configured = {each.id: each for each in configuration.destination}
    if not placed and not _stands(archive, wanted, configured.keys(), placements):
        raise Rejected("The Archive was not published there.", code="not-published")
    withdrawn: list[str] = []
    still: dict[str, PerduraError] = {}
    for name in sorted({*placed, *_unknown(archive, wanted, placed, placements, configuration)}, key=_pages_first):
        known = placed.get(name)
        try:
            gone = known is not None and known.state == "withdrawn"
            if gone or _withdraw(archive, name, known, configured.get(name), placements, ports, connect):
                withdrawn.append(name)
        except PerduraError as error:
            still[name] = error
    return _outcome(archive, withdrawn, still)


def _stands(archive: ArchiveView, wanted: str | None, configured: Collection[str], placements: Placements) -> bool:
    """Whether what is withdrawn from where it never was is kept from there, by a decision that stands."""
    standing = placements.standing(archive.id)
    return (wanted is None or wanted in configured) and standing is not None and wanted in standing.withdrawn


def _pages_first(name: str) -> tuple[bool, str]:
    return name != ACCESS_PAGES, name


def _unknown(
    archive: ArchiveView,
    wanted: str | None,
    placed: Collection[str],
    placements: Placements,
    configuration: AccessConfiguration,
) -> Collection[str]:
    """The access systems of others that are meant for the Archive, or named, where nothing is noted of it."""
    if wanted is None:
        meant = configuration.destinations(archive.source, placements.collections(archive.id), placed)
    else:
        meant = [each for each in configuration.destination if each.id == wanted]
    others = [each.id for each in meant if each.type == "inveniordm"]
    return [name for name in others if not configuration.alike(name) & set(placed)]


def _withdraw(
    archive: ArchiveView,
    name: str,
    placed: Placed | None,
    destination: Destination | None,
    placements: Placements,
    ports: Ports,
    connect: Connect,
) -> bool:
    """Take the Archive off one destination, say so in the PREMIS log and note it, in this order, each at once; whether
    there was anything of it. A draft that was thrown away leaves no tombstone: it may be published once more.

    What the destination refuses of one record keeps no other there. Raises NotDeleted when all that is left is shut.
    """
    reason, note = _why(archive)
    tombstone = {"reason": reason, "note": note, "at": ports.clock.now().isoformat()}
    details = {"reason": reason, "note": note, "tombstone": tombstone}
    event = _event(archive, name, reason, note, ports)
    if placed is not None and name == ACCESS_PAGES:
        ports.record([event])
        placements.take_off(name, archive.id, Placed(placed.record, "withdrawn", {**placed.details, **details}))
        return True
    if destination is None:
        message = f"It is configured no longer, so its record {placed.record if placed else ''} cannot be withdrawn."
        raise Broken(message, code="destination-unknown")
    with placements.hold(destination.system, resource_id(archive)) as held, connect(destination) as wire:
        known = known_or_found(archive, destination, wire, held)
        if known is None:
            return False
        request = known.details.get("request")
        faults, deleted = Faults(), False
        for record in held.records(name, archive.id) or [known.record]:
            held.confirm()
            with faults.kept():
                begun = request if record == known.record else None
                deleted |= take_back(wire, record, begun, reason, note, held.confirm)
        shut = [error.record for error in faults.errors if isinstance(error, NotDeleted)]
        if shut:
            ports.record([assigned(archive, ports, name, SHUT, shut)])
            state = "published" if known.record in shut else known.state
            held.note(name, archive.id, Placed(known.record, state, {**known.details, "access": SHUT}))
        if faults.errors:
            raise together(sorted(faults.errors, key=lambda error: isinstance(error, NotDeleted)))
        if deleted or known.state == "published":
            ports.record([event])
            held.note(name, archive.id, Placed(known.record, "withdrawn", {**known.details, **details}))
        else:
            told = f"Thrown away before it was published at {name}: {reason}"
            ports.record([replace(event, details=(told,))])
            held.note(name, archive.id, Placed(known.record, "draft"))
    return True


def _outcome(archive: ArchiveView, withdrawn: list[str], still: Mapping[str, PerduraError]) -> Outcome:
    reason, note = _why(archive)
    output: dict[str, Any] = {"withdrawn": withdrawn, "reason": reason, "note": note}
    if still:
        for error in still.values():
            if isinstance(error, Retryable):
                raise error
        shut = {name: error for name, error in still.items() if error.code == NotDeleted.code}
        public = {name: error for name, error in still.items() if name not in shut}
        told = [f"Withdrawn from {', '.join(withdrawn) or 'nowhere'}"]
        told += [f"shut, not deleted at {_named(shut)}"] if shut else []
        told += [f"still public or to be published at {_named(public)}"] if public else []
        return Outcome(
            state=StepState.BLOCKED,
            output={**output, "shut": list(shut), "still_public": list(public)},
            findings=tuple(Finding(error.code, error.message, path=name) for name, error in still.items()),
            error_code=next(iter((public or shut).values())).code,
            message="; ".join(told),
        )
    return Outcome(
        output=output,
        facts=(
            Fact(
                "org.perdura.archive.withdrawn.v1",
                {
                    "archive": str(archive.id),
                    "destinations": withdrawn,
                    "reason": f"{reason}: {note}" if note else reason,
                    "tell_source": archive.step.input.get("tell_source") is True,
                },
            ),
        ),
    )


def _named(errors: Mapping[str, PerduraError]) -> str:
    return "; ".join(f"{name}: {error.message}" for name, error in errors.items())


def _why(archive: ArchiveView) -> tuple[str, str]:
    told = archive.step.input
    return str(told.get("reason") or "out-of-scope"), str(told.get("note") or "")


def _event(archive: ArchiveView, name: str, reason: str, note: str, ports: Ports) -> Event:
    return Event(
        id=ports.derived(f"premis/withdrawal {name}"),
        type="policy assignment",
        at=ports.clock.now(),
        details=(f"Withdrawn from access at {name}: {reason}",),
        outcomes=(EventOutcome(SUCCESS, (note,) if note else ()),),
        agents=(*authorizer(archive), SOFTWARE),
        objects=(Identifier("UUID", str(archive.id)),),
    )
