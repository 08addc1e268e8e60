"""The virus scan of a submission, whichever engine makes the AIP: what scans, and what is told of it (docs/aip.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from perdura.errors import Retryable
from perdura.outcome import Finding
from perdura.ports import Ports, VirusScanner
from perdura.steps.preserve_events import Act, Files, Provenance

_FINDINGS = 100


class ScannedFiles(Files, Protocol):
    """Files of a package by number, with the names that they have in the submission."""

    def original(self, number: int, /) -> str:
        """Path of a file in the submission."""
        ...


@dataclass(frozen=True, slots=True)
class Scanning:
    """The scanner to use, or `reason` why there is none; `engine` is what it calls itself."""

    scanner: VirusScanner | None
    engine: str = ""
    trusted: bool = False
    reason: str = ""


def scanning_of(ports: Ports) -> Scanning:
    """The scanner that the policy allows, or why there is none."""
    if ports.settings.virus_scan == "off":
        return Scanning(None, reason="switched off by policy")
    if ports.scanner is None:
        return Scanning(None, reason="no virus scanner is configured")
    try:
        return Scanning(ports.scanner, ports.scanner.engine, ports.scanner.trusted)
    except Retryable as error:
        return Scanning(None, reason=f"the virus scanner is unavailable: {error.message}")


def is_required(ports: Ports) -> bool:
    """Whether no AIP may be made without a scan."""
    return ports.settings.virus_scan == "required"


def virus_checks(scanning: Scanning, provenance: Provenance, files: Files) -> list[Act]:
    """The events of the scan, or the one that says why there was none."""
    if scanning.scanner is None:
        return [provenance.no_virus_check(scanning.reason)]
    return provenance.virus_check(scanning.engine, scanning.trusted, files)


def unscanned(files: ScannedFiles, ports: Ports) -> tuple[Finding, ...]:
    """Files that a required scan could not look into; under any other policy the event alone says it."""
    if not is_required(ports):
        return ()
    return tuple(
        Finding("not-scanned", f"{files.original(number)}: {scan.detail}", "warning", files.original(number))
        for number in range(len(files))
        if (scan := files.scan(number)) and scan.verdict == "not-scanned"
    )[:_FINDINGS]
