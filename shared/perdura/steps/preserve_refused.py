"""Why no AIP may be made of a submission, whichever engine would make it: its bytes, or what the scanner says."""

from __future__ import annotations

from collections.abc import Sequence

from perdura.outcome import Finding, Outcome, StepState
from perdura.ports import Ports
from perdura.steps.preserve_events import UNTRUSTED, Provenance
from perdura.steps.preserve_scanning import ScannedFiles, Scanning, is_required

_FINDINGS = 100


def unavailable(scanning: Scanning, ports: Ports) -> Outcome | None:
    """BLOCKED when a scan is required that cannot be had; asked before the first byte is read."""
    if is_required(ports) and not scanning.trusted:
        return _blocked(scanning.reason or UNTRUSTED)
    return None


def refused(
    scanning: Scanning, mismatches: Sequence[Finding], files: ScannedFiles, about_sip: Provenance, ports: Ports
) -> Outcome | None:
    """FAILED for other bytes than were accepted and for malware, BLOCKED when a required scan failed; else None.

    `mismatches` are findings of the comparison with the manifests, `files` those of the SIP, each with its scan.
    """
    if mismatches:
        return _failed(about_sip, "fixity-mismatch", "fixity check", "manifests of the submission package", mismatches)
    if scanning.scanner is None:
        return None
    infected, errors = [], []
    for number in range(len(files)):
        scan = files.scan(number)
        if scan and scan.verdict == "infected":
            path = files.original(number)
            infected.append(Finding("infected", f"{path}: {scan.detail}", path=path))
        elif scan is None or scan.verdict == "error":
            errors.append(scan.detail if scan else "it gave no answer")
    if infected:
        return _failed(about_sip, "infected", "virus check", scanning.engine, infected)
    if is_required(ports) and errors:
        return _blocked(f"the scanner failed: {errors[0]}")
    return None


def _blocked(reason: str) -> Outcome:
    return Outcome(
        StepState.BLOCKED,
        error_code="virus-scan-unavailable",
        message=f"a virus scan is required, but {reason}",
    )


def _failed(about_sip: Provenance, code: str, act: str, detail: str, findings: Sequence[Finding]) -> Outcome:
    message = findings[0].message + (f" (and {len(findings) - 1} more)" if len(findings) > 1 else "")
    event = about_sip.failed(act, detail, [finding.message for finding in findings[:_FINDINGS]])
    return Outcome(
        StepState.FAILED,
        error_code=code,
        message=message,
        findings=tuple(findings[:_FINDINGS]),
        events=(event,),
    )
