"""Whether who made an AIP looked for viruses, where the policy requires that (archivematica.md 6.1, docs/aip.md)."""

from __future__ import annotations

from collections.abc import Mapping

from perdura.errors import Broken
from perdura.fleet import Archivematica
from perdura.outcome import Finding
from perdura.ports import Ports
from perdura.steps.preserve_scanning import is_required
from perdura.steps.preserve_takeover_course import NotJudged
from perdura.steps.preserve_takeover_history import History

_FINDINGS = 100
_QUESTIONS = {
    "7e81f94e-6441-4430-a12d-76df09181b66": "97be337c-ff27-4869-bf63-ef1abc9df15d",
    "1dad74a2-95df-4825-bbba-dca8b91d2371": "1ac7d792-b63f-46e0-9945-d48d9e5c02c9",
}
"""Whether to scan what was submitted, and what was extracted from it: question, and the answer yes (1.6)."""


def not_scanned(history: History, ports: Ports) -> tuple[Finding, ...]:
    """Files of the submission without a passed virus check in the METS, where a scan is required.

    Raises NotJudged with `aip-not-scanned` when no file has one: then nobody looked.
    """
    if not is_required(ports) or not history.unscanned:
        return ()
    findings = tuple(
        Finding("not-scanned", f"{path}: the AIP tells of no passed virus check of it.", "warning", path)
        for path in history.unscanned[:_FINDINGS]
    )
    if len(history.unscanned) == history.originals:
        message = "A virus scan is required, and the METS of the AIP tells of none."
        raise NotJudged(message, code="aip-not-scanned")
    return findings


def refuse_without_scan(
    archivematica: Archivematica, configuration: str, choices: Mapping[str, str], ports: Ports
) -> None:
    """Raise Broken for a processing configuration that leaves out a virus scan which is required."""
    left_out = [question for question, yes in _QUESTIONS.items() if choices.get(question, yes) != yes]
    if left_out and is_required(ports):
        raise Broken(
            f"{archivematica.terms.name}'s processing configuration {configuration!r} leaves out the virus scan that "
            f"PERDURA_VIRUS_SCAN requires. Change its answer to {left_out[0]}.",
            code="configuration-without-scan",
        )
