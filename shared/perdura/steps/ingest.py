"""ingest: a SIP is taken into custody, verified where it lies, and accepted or rejected with every reason.

The deposited object is first copied out of the drop zone, so that its depositor can no longer change what is being
judged; nothing is removed from the drop zone. A rejected SIP stays retrievable (packages.md 2.1).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any
from uuid import UUID

from perdura import __version__
from perdura.outcome import (
    ArchiveChange,
    ArchiveView,
    Fact,
    File,
    Finding,
    Outcome,
    Package,
    PackageKind,
    StepState,
)
from perdura.packages.package import Finding as PackageFinding
from perdura.packages.package import Report, Verdict
from perdura.packages.verify import Examination, digested
from perdura.ports import Ports
from perdura.premis.model import FAILURE, SUCCESS, WARNING, Event, Identifier
from perdura.premis.model import Outcome as EventOutcome
from perdura.steps import ingest_access, ingest_units
from perdura.steps.ingest_custody import take_custody, taken, unlike_announced
from perdura.steps.ingest_fetch import completed
from perdura.steps.stored_package import source_of
from perdura.storage.timed import TimeUp, Watch, timed

NOTES = 20
"""Findings quoted in a PREMIS event; the report in the registry has them all."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Verify the Archive's SIP: the one a harvest wrote, or the object that arrived in the drop zone.

    Raises Retryable errors of the store; what is wrong with the package is an outcome, not an error.
    """
    if archive.step.units:
        gathered = ingest_units.gathered(archive, ports)
        return gathered if isinstance(gathered, Outcome) else _judged(archive, *gathered, ports)
    sip = archive.package(PackageKind.SIP) or taken(archive) or take_custody(archive, ports)
    if isinstance(sip, Outcome):
        return sip
    examined, watch = _examined(archive, sip, ports)
    if isinstance(examined, Report):
        return _judged(archive, sip, examined, None, ports)
    match completed(archive, sip, examined, ports):
        case Outcome() as later:
            return later
        case Finding() as refused:
            return _rejected(archive, replace(sip, accepted=False), (refused,), ports)
        case (Package() as whole, Event() as event):
            unlike = unlike_announced(archive, sip, ports)
            if unlike is not None:
                return _rejected(archive, replace(sip, accepted=False), (unlike,), ports)
            outcome = _verified(archive, whole, ports, *_examined(archive, whole, ports))
            return replace(outcome, events=(event, *outcome.events))
        case _:
            return _verified(archive, sip, ports, examined, watch)


def _examined(archive: ArchiveView, sip: Package, ports: Ports) -> tuple[Examination | Report, Watch]:
    """All but the payload of a SIP, and the watch that ends its reading with TimeUp once it is on."""
    watch = Watch(ports.deadline.near)
    source = source_of(sip, timed(ports.store, watch.over), archive.step.input.get("filename"))
    return ingest_units.examined(source, ports), watch


def _verified(
    archive: ArchiveView, sip: Package, ports: Ports, examined: Examination | Report, watch: Watch
) -> Outcome:
    """Verify a SIP in this invocation, or have its units done: where it is large, or the store too slow."""
    if isinstance(examined, Report):
        return _judged(archive, sip, examined, None, ports)
    divided = ingest_units.divided(archive, sip, examined, ports)
    if divided is not None:
        return divided
    watch.on = True
    try:
        report = digested(examined, lambda done, total: ports.progress("verifying", done, total))
        return _judged(archive, sip, report, None, ports)
    except TimeUp:
        divided = ingest_units.divided(archive, sip, examined, ports, was_too_slow=True)
        if divided is None:
            raise
        return divided


def _judged(archive: ArchiveView, sip: Package, report: Report, sha256: str | None, ports: Ports) -> Outcome:
    sip = replace(sip, container=report.container, accepted=accepted(report))
    try:
        finding = unlike_announced(archive, sip, ports, sha256)
    except TimeUp:
        if sip.accepted:
            raise
        finding = None  # It is refused in any case.
    if finding is not None:
        return _rejected(archive, replace(sip, accepted=False), (finding,), ports)
    outcome = judge(archive, sip, report, ports)
    existing = _existing(archive, outcome, ports)
    if existing is not None:
        return _duplicate(archive, sip, existing, ports)
    return ingest_access.enforced(archive, outcome, report, ports)


def _existing(archive: ArchiveView, outcome: Outcome, ports: Ports) -> UUID | None:
    """The Archive that holds the same payload, for a deposit; a harvest is a version of its Resource in any case."""
    content = outcome.archive.content_sha256 if outcome.archive else None
    if content is None or "key" not in archive.step.input or ports.contents is None:
        return None
    if ports.settings.duplicate_deposits == "keep":
        return None
    return ports.contents.claim(content)


def _duplicate(archive: ArchiveView, sip: Package, existing: UUID, ports: Ports) -> Outcome:
    """The same content is kept already, and nothing is kept twice. Where is told in the output alone.

    Whoever looks at it may not be allowed to see that Archive, then or later.
    """
    finding = Finding("duplicate-content", "The same content is kept already.")
    outcome = _rejected(archive, replace(sip, accepted=False), (finding,), ports)
    return replace(outcome, output={**outcome.output, "duplicate_of": str(existing)})


def accepted(report: Report) -> bool:
    """Whether a package with this report becomes part of the archive."""
    return report.verdict in {Verdict.VALID, Verdict.WARNINGS}


def judge(archive: ArchiveView, sip: Package, report: Report, ports: Ports) -> Outcome:
    """The outcome that a report leads to; reads nothing and writes nothing."""
    findings = tuple(_finding(finding) for finding in report.findings)
    if not accepted(report):
        return _rejected(archive, sip, findings, ports, report)
    warned = report.verdict is Verdict.WARNINGS
    payload = tuple(
        File(file.path, file.size, {**file.declared, **file.checksums}, file.offset)
        for file in report.files
        if file.is_payload
    )
    outcome = WARNING if warned else SUCCESS
    notes = tuple(_note(finding) for finding in findings[:NOTES])
    checked = f"{report.payload_files} files, {report.payload_bytes} bytes, {report.container}"
    return Outcome(
        state=StepState.COMPLETED_WITH_WARNINGS if warned else StepState.COMPLETED,
        output={
            "verdict": str(report.verdict),
            "files": report.payload_files,
            "bytes": report.payload_bytes,
            "counts": dict(report.counts),
        },
        packages=(sip,),
        files=((sip.id, payload),),
        findings=findings,
        events=(
            _event(archive, sip, ports, "validation", f"BagIt validation: {checked}", outcome, notes),
            _event(archive, sip, ports, "fixity check", f"Every manifest digest compared: {checked}", SUCCESS),
            _event(archive, sip, ports, "ingestion", "The SIP was accepted.", SUCCESS),
        ),
        facts=(
            Fact(
                "org.perdura.sip.accepted.v1",
                {
                    "archive": archive.id,
                    "package": reference(sip),
                    "files": report.payload_files,
                    "warnings": sum(report.counts.values()),
                },
            ),
        ),
        archive=ArchiveChange(
            title=_title(archive, report), metadata=_metadata(report), content_sha256=content_digest(payload)
        ),
    )


def _rejected(
    archive: ArchiveView, sip: Package, findings: tuple[Finding, ...], ports: Ports, report: Report | None = None
) -> Outcome:
    first = next((finding for finding in findings if finding.severity != "warning"), findings[0])
    total = sum(report.counts.values()) if report else len(findings)
    others = f" (and {total - 1} more)" if total > 1 else ""
    notes = tuple(_note(finding) for finding in findings[:NOTES])
    return Outcome(
        state=StepState.FAILED,
        output={"verdict": str(report.verdict) if report else "rejected", "findings": total},
        packages=(sip,),
        findings=findings,
        error_code=first.code,
        message=f"{first.message}{others}",
        events=(_event(archive, sip, ports, "validation", "The SIP was rejected.", FAILURE, notes),),
        facts=(
            Fact(
                "org.perdura.sip.rejected.v1",
                {"archive": archive.id, "code": first.code, "message": first.message, "findings": total},
            ),
        ),
        archive=ArchiveChange(rejected=True),
    )


def reference(package: Package) -> dict[str, Any]:
    """A package as a claim check in a CloudEvent."""
    return {
        "id": package.id,
        "kind": package.kind,
        "bucket": package.bucket,
        "key": package.key,
        "version_id": package.version_id,
        "size": package.size,
        "checksums": dict(package.checksums),
    }


def content_digest(files: tuple[File, ...]) -> str | None:
    """SHA-256 over the sorted paths, sizes and SHA-256 of the payload: the same in every container, however declared.

    None where there is no payload: all empty bags are not one deposit.
    """
    total = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        total.update(f"{file.path}\0{file.size}\0{file.checksums['sha256']}\n".encode())
    return total.hexdigest() if files else None


def _finding(finding: PackageFinding) -> Finding:
    compared = f" Expected {finding.expected}, found {finding.found}." if finding.expected and finding.found else ""
    severity = "warning" if finding.severity == "warning" else "error"
    return Finding(finding.code, f"{finding.message}{compared}", severity, finding.path, finding.clause)


def _note(finding: Finding) -> str:
    return f"{finding.code}: {finding.message}" + (f" [{finding.path}]" if finding.path else "")


def _event(
    archive: ArchiveView,
    sip: Package,
    ports: Ports,
    kind: str,
    detail: str,
    outcome: str,
    notes: tuple[str, ...] = (),
) -> Event:
    return Event(
        id=ports.derived(f"premis {kind}"),
        type=kind,
        at=ports.clock.now(),
        details=(detail,),
        outcomes=(EventOutcome(outcome, notes),),
        agents=(Identifier("software", f"perdura/{__version__} ingest", ("executing program",)),),
        objects=(Identifier("UUID", str(archive.id)), Identifier("UUID", str(sip.id))),
    )


def _title(archive: ArchiveView, report: Report) -> str | None:
    """The title the package gives itself, where nobody gave the Archive more than a file name."""
    if archive.source or archive.title != archive.step.input.get("filename"):
        return None
    labels = {str(label).lower(): str(value) for label, value in report.facts.get("bag_info", ())}
    return labels.get("title") or labels.get("external-description") or None


def _metadata(report: Report) -> dict[str, Any]:
    return {key: report.facts[key] for key in ("bag_info", "bagit_version", "profile", "sip") if report.facts.get(key)}
