"""Collects findings: counts all of them, keeps as many as a report may show, in an order of its own."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from perdura.packages.package import Finding, Verdict
from perdura.packages.rules import INVALID, REJECTED, RULES, WARNING

if TYPE_CHECKING:
    from perdura.packages.limits import Limits


class Findings:
    """Findings of one package. What is kept does not depend on the order in which they were found."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._kept: dict[str, list[Finding]] = {}

    def add(
        self,
        code: str,
        path: str | None = None,
        detail: str | None = None,
        *,
        expected: str | None = None,
        found: str | None = None,
        severity: str | None = None,
    ) -> None:
        """Note that a rule was broken; `severity` only where a tenant is stricter than the table."""
        self._counts[code] += 1
        rule = RULES[code]
        message = rule.message if detail is None else f"{rule.message} ({_short(detail)})"
        kept = self._kept.setdefault(code, [])
        kept.append(Finding(code, severity or rule.severity, message, path, rule.clause, _cut(expected), _cut(found)))
        if len(kept) >= 4 * self._limits.findings_per_rule:
            self._prune(kept)

    def _prune(self, kept: list[Finding]) -> None:
        kept.sort(key=_order)
        del kept[self._limits.findings_per_rule :]

    @property
    def counts(self) -> dict[str, int]:
        """Findings per code, exact."""
        return dict(sorted(self._counts.items()))

    def shown(self) -> tuple[Finding, ...]:
        """The findings that a report shows, by code and path: the first of each rule, as many as there is room."""
        room = self._limits.findings_bytes
        shown: list[Finding] = []
        grave = sorted(self._kept, key=lambda code: (_GRAVITY[self._kept[code][0].severity], code))
        for code in grave:
            self._prune(self._kept[code])
            for finding in self._kept[code]:
                room -= 80 + sum(len(text) for text in (finding.path, finding.message, finding.found) if text)
                if room < 0 or len(shown) >= self._limits.findings:
                    break
                shown.append(finding)
        return tuple(sorted(shown, key=lambda finding: (finding.code, *_order(finding))))

    def verdict(self) -> Verdict:
        """The gravest severity decides."""
        severities = {finding.severity for kept in self._kept.values() for finding in kept}
        if REJECTED in severities:
            return Verdict.REJECTED
        if INVALID in severities:
            return Verdict.INVALID
        return Verdict.WARNINGS if severities else Verdict.VALID


_GRAVITY = {REJECTED: 0, INVALID: 1, WARNING: 2}


def _order(finding: Finding) -> tuple[str, str, str, str]:
    return (finding.path or "", finding.message, finding.expected or "", finding.found or "")


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"


def _cut(text: str | None) -> str | None:
    return None if text is None else _short(text)
