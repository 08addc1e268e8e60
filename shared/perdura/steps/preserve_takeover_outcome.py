"""What is told of an AIP that was taken over, or was not (archivematica.md 6.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from perdura.errors import PerduraError, Rejected
from perdura.fleet import Stored
from perdura.outcome import ArchiveView, Copy, Fact, Finding, Outcome, Package, PackageKind, StepState
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps.preserve_additions import additions_of, changes
from perdura.steps.preserve_events import EXECUTING, SOFTWARE, Provenance
from perdura.steps.preserve_takeover_course import Course, Flawed
from perdura.steps.preserve_takeover_dips import Dips
from perdura.steps.preserve_takeover_history import History
from perdura.steps.preserve_takeover_inside import Inside

_OF_AIP = "AIP made by Archivematica: bytes, bag, METS and payload compared"
_OF_DIP = "DIP made by Archivematica: read back, its tar, size and METS examined"


def taken_over(
    archive: ArchiveView,
    course: Course,
    dips: Dips,
    inside: Inside,
    history: History,
    findings: Sequence[Finding],
    ports: Ports,
) -> Outcome:
    """Package, copies, files, and the package's own history, all for the transaction that ends the step."""
    package, now = course.package, ports.clock.now()
    assert package is not None
    whole = [f"sha256 {package.checksums['sha256']}"] if "sha256" in package.checksums else []
    notes = (f"{len(history.files)} files", *inside.notes, *whole)
    reference = {
        "id": str(package.id),
        "kind": "AIP",
        "bucket": package.bucket,
        "key": package.key,
        "version_id": package.version_id,
        "size": package.size,
        "checksums": dict(package.checksums),
    }
    notices = (*findings, *(_not_taken(dip, why) for dip, why in dips.refused))
    about = {"archive": str(archive.id), "package": reference, "files": len(history.files)}
    return Outcome(
        StepState.COMPLETED_WITH_WARNINGS if notices else StepState.COMPLETED,
        output={"aip": str(package.id), "files": len(history.files), "size": package.size, "events": history.count},
        packages=(package, *dips.packages),
        copies=tuple(
            Copy(each.id, "object-store", f"s3://{each.bucket}/{each.key}", each.size, each.checksums, now)
            for each in (package, *dips.packages)
        ),
        files=((package.id, history.files),),
        events=(
            _event("validation", SUCCESS, notes, archive, package.id, ports),
            _event("accession", SUCCESS, (f"s3://{package.bucket}/{package.key}",), archive, package.id, ports),
            *_version(archive, package, ports),
            *_of_dips(archive, dips, ports),
        ),
        told_events=history.events,
        told_agents=history.agents,
        facts=(Fact("org.perdura.aip.created.v1", about),),
        findings=notices,
    )


def flawed(archive: ArchiveView, record: Stored, error: Rejected, ports: Ports) -> Outcome:
    """The failure, as an event too; the package is left where it is."""
    return Outcome(
        StepState.FAILED,
        error_code=error.code,
        message=f"Archivematica's AIP {record.id} is not taken over, and left where it is: {error.message}",
        findings=error.findings if isinstance(error, Flawed) else (Finding(error.code, error.message),),
        events=(_event("validation", FAILURE, (error.message,), archive, record.id, ports),),
        output={"aip": str(record.id)},
    )


def not_judged(record: Stored, error: PerduraError) -> Outcome:
    """Blocked until a person has looked; nothing is said against the package in the log."""
    return Outcome(
        StepState.BLOCKED,
        error_code=error.code,
        message=f"Archivematica's AIP {record.id} is not taken over yet, and left where it is: {error.message}",
        findings=(Finding(error.code, error.message),),
        output={"aip": str(record.id)},
    )


def _version(archive: ArchiveView, package: Package, ports: Ports) -> Sequence[Event]:
    """That the AIP is a new version of the one in use, where there is one."""
    before = archive.package(PackageKind.AIP)
    if before is None or before.id == package.id:
        return ()
    about = (Identifier("UUID", str(package.id), ("outcome",)), Identifier("UUID", str(archive.id)))
    provenance = Provenance(ports.derived, ports.clock.now(), about, ports.settings.organisation)
    changed = changes(additions_of(archive.step.input))
    return (provenance.version(str(before.id), str(archive.step.input.get("reason") or "")[:500], changed).event,)


def _of_dips(archive: ArchiveView, dips: Dips, ports: Ports) -> Iterator[Event]:
    for dip in dips.packages:
        notes = (f"sha256 {dip.checksums['sha256']}", f"s3://{dip.bucket}/{dip.key}")
        yield _event("validation", SUCCESS, notes, archive, dip.id, ports, _OF_DIP)
    for refused, why in dips.refused:
        yield _event("validation", FAILURE, (why,), archive, refused, ports, _OF_DIP)


def _not_taken(dip: UUID, why: str) -> Finding:
    return Finding("dip-not-taken", f"DIP {dip} is not taken over, and left where it is: {why}", "warning")


def _event(
    kind: str,
    outcome: str,
    notes: tuple[str, ...],
    archive: ArchiveView,
    package: UUID,
    ports: Ports,
    detail: str = _OF_AIP,
) -> Event:
    return Event(
        id=ports.derived(f"event/takeover/{kind}{'' if detail == _OF_AIP else f'/{package}'}"),
        type=kind,
        at=ports.clock.now(),
        details=(detail,),
        outcomes=(EventOutcome(outcome, notes),),
        agents=(
            Identifier("software", SOFTWARE, EXECUTING),
            Identifier("organization", ports.settings.organisation, ("implementer",)),
        ),
        objects=(Identifier("UUID", str(package)), Identifier("UUID", str(archive.id))),
    )
