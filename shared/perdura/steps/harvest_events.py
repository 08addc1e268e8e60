"""What a harvest records and tells: PREMIS events, one per act and outcome, failures with both values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perdura import __version__
from perdura.clients.http import redacted
from perdura.outcome import ArchiveView, Fact, Package
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier, Outcome
from perdura.sources.catalogue import Recognised
from perdura.sources.plan import Plan
from perdura.sources.transfer import Fetched, FileRefused

NOTES = 200
"""Most notes of one event; the rest is counted, and the SIP's `sip.json` has them all."""


def transferred(archive: ArchiveView, ports: Ports, plan: Plan, fetched: Sequence[Fetched], sip: str) -> list[Event]:
    """Events of a complete harvest: metadata captured, files transferred, digests computed and compared."""
    size = sum(item.size for item in fetched)
    compared = [item for item in fetched if item.compared]
    events = [
        _event(
            archive,
            ports,
            sip,
            "capture",
            f"metadata of {plan.source} {plan.recid}, revision {plan.revision or 'not given'}",
            Outcome(
                SUCCESS, tuple(f"{c.status} {redacted(c.url)} at {c.at.isoformat()}" for c in plan.captures[:NOTES])
            ),
        ),
        _event(
            archive,
            ports,
            sip,
            "transfer",
            f"{len(fetched)} files, {size} bytes, from {redacted(plan.url)}",
            Outcome(SUCCESS, _listed([f"{item.path}: {item.size} bytes" for item in fetched])),
        ),
    ]
    if fetched:
        algorithms = ", ".join(sorted({name for item in fetched for name in item.checksums}))
        detail = f"algorithms: {algorithms}"
        events.append(
            _event(
                archive, ports, sip, "message digest calculation", detail, Outcome(SUCCESS, (f"{len(fetched)} files",))
            )
        )
    if compared:
        notes = [f"{i.path}: {name}:{i.checksums[name]}" for i in compared for name in i.compared]
        detail = f"{len(compared)} of {len(fetched)} files have a checksum declared by the repository; all match"
        events.append(_event(archive, ports, sip, "fixity check", detail, Outcome(SUCCESS, _listed(notes))))
    return events


def refused(archive: ArchiveView, ports: Ports, plan: Plan, refusals: Sequence[FileRefused]) -> Event:
    """The event of a harvest that failed: every refused file with what was declared and what came."""
    notes = [
        f"{item.path}: {item.code}; expected {item.expected or 'the file'}; found {item.found or item.message}"
        for item in refusals
    ]
    detail = f"{len(refusals)} of {len(plan.files)} files from {redacted(plan.url)} were refused"
    return _event(archive, ports, None, "transfer", detail, Outcome(FAILURE, _listed(notes)), name="refused")


def unchanged(archive: ArchiveView, ports: Ports, plan: Plan) -> Event:
    """The event of a record that is as it was when it was harvested before."""
    detail = f"{plan.source} {plan.recid} was looked at again, revision {plan.revision or 'not given'}"
    outcome = Outcome(SUCCESS, ("unchanged: no new submission package",))
    return _event(archive, ports, None, "capture", detail, outcome, name="unchanged")


def deleted(archive: ArchiveView, ports: Ports, record: Recognised, told: Mapping[str, str]) -> Event:
    """The event of a record of which the upstream has only a tombstone left, with what that says."""
    notes = ("deleted upstream: our packages stay", *(f"{name}: {value}" for name, value in told.items()))
    detail = f"{record.source} {record.recid} was asked for; the repository has deleted it"
    return _event(archive, ports, None, "capture", detail, Outcome(FAILURE, notes), name="deleted")


def engine(
    archive: ArchiveView,
    ports: Ports,
    name: str,
    source: str,
    recid: str,
    notes: Sequence[str],
    *,
    sound: bool,
    sip: str | None = None,
) -> Event:
    """The event of a harvest that another program did, and of our verification of its package."""
    outcome = Outcome(SUCCESS if sound else FAILURE, _listed(notes))
    return _event(archive, ports, sip, "transfer", f"{source} {recid}, harvested by {name}", outcome, name="engine")


def created(archive: ArchiveView, package: Package, source: str, recid: str) -> Fact:
    """What the world hears of a new SIP."""
    reference = {
        "id": package.id,
        "kind": package.kind,
        "bucket": package.bucket,
        "key": package.key,
        "size": package.size,
    }
    data = {"archive": archive.id, "package": reference, "source": source, "recid": recid}
    return Fact("org.perdura.sip.created.v1", data)


def closed(archive: ArchiveView, ports: Ports, source: str, recid: str, status: str) -> Event:
    """The event of a record whose files may not be read now."""
    detail = f"files of {source} {recid} are {status}"
    return _event(
        archive, ports, None, "transfer", detail, Outcome(FAILURE, ("no file was transferred",)), name="closed"
    )


def _listed(notes: Sequence[str]) -> tuple[str, ...]:
    if len(notes) <= NOTES:
        return tuple(notes)
    return (*notes[:NOTES], f"and {len(notes) - NOTES} more")


def _event(
    archive: ArchiveView,
    ports: Ports,
    sip: str | None,
    kind: str,
    detail: str,
    outcome: Outcome,
    *,
    name: str = "done",
) -> Event:
    objects = (Identifier("UUID", str(archive.id)), *((Identifier("UUID", sip),) if sip else ()))
    return Event(
        id=ports.derived(f"premis {kind} {name}"),
        type=kind,
        at=ports.clock.now(),
        details=(detail,),
        outcomes=(outcome,),
        agents=(Identifier("software", f"perdura/{__version__} harvest", ("executing program",)),),
        objects=objects,
    )
