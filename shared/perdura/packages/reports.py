"""A report as JSON and as a page that explains itself: one file, no scripts, nothing loaded (packages.md 2.11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from perdura import __version__
from perdura.packages.package import Finding, Report, Verdict
from perdura.recordable import recordable

_UNPRINTABLE = (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {code: f"\\u{{{code:x}}}" for code in _UNPRINTABLE}

_MEANINGS = {
    Verdict.VALID: "Every rule is met and every checksum was compared.",
    Verdict.WARNINGS: "The bag is valid; a careful archivist would want to know what follows.",
    Verdict.INVALID: "The container is sound, but the bag breaks rules. It would not be accepted.",
    Verdict.REJECTED: "The container is unsafe, ambiguous or no package. Nothing of it was used.",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;"
    "border-bottom:1px solid #ccc;overflow-wrap:anywhere}code{font-size:.9em}"
)


@dataclass(frozen=True, slots=True)
class Read:
    """When a package was read, and which state of it: version and ETag of an object, where its store has them."""

    begun: datetime
    ended: datetime
    version: str | None = None
    etag: str | None = None


def shown(text: str) -> str:
    """Text of a stranger for a terminal or a page: control and bidirectional characters as escapes (§2.10)."""
    return text.encode("utf-8", "backslashreplace").decode().translate(_ESCAPES)


def to_json(path: str, report: Report, read: Read) -> dict[str, Any]:
    """The report on the package at `path`, as JSON values that can be written as UTF-8 whatever strangers wrote."""
    told: dict[str, Any] = {
        "path": path,
        "verdict": str(report.verdict),
        "findings": [_finding(finding) for finding in report.findings],
        "counts": dict(report.counts),
        "payload": {"files": report.payload_files, "bytes": report.payload_bytes},
        "container": report.container,
        "facts": dict(report.facts),
        "unchecked": list(report.unchecked),
        "software": f"Perdura {__version__}",
        "read": {
            "begun": _moment(read.begun),
            "ended": _moment(read.ended),
            "version": read.version,
            "etag": read.etag,
        },
    }
    return recordable(told)


def _moment(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")


def _finding(finding: Finding) -> dict[str, str | None]:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "path": finding.path,
        "message": finding.message,
        "clause": finding.clause,
        "expected": finding.expected,
        "found": finding.found,
    }


def to_html(path: str, report: Report, read: Read) -> str:
    """The report on the package at `path`, as a page."""
    title = f"{shown(path)}: {report.verdict}"
    hidden = sum(report.counts.values()) - len(report.findings)
    rows = "".join(_row(finding) for finding in report.findings)
    more = f"<p>And {hidden} more findings; per rule: {_counts(report.counts)}.</p>" if hidden else ""
    table = (
        "<h2>Findings</h2><table><thead><tr><th>Severity</th><th>Rule</th><th>Where</th><th>What</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>{more}"
        if report.findings
        else ""
    )
    unchecked = f"<p>Not checked: {_text(', '.join(report.unchecked))}.</p>" if report.unchecked else ""
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{_STYLE}</style>"
        f"<h1><bdi>{_text(path)}</bdi>: {report.verdict}</h1><p>{_MEANINGS[report.verdict]}</p>{table}{unchecked}"
        f"<h2>Package</h2><table><tbody>{_facts(report)}</tbody></table>"
        f"<p>Read from {_moment(read.begun)} to {_moment(read.ended)}{_state(read)}.</p>"
        f"<p>Verified by Perdura {__version__}; clauses are sections of RFC 8493 or rules of Perdura's own.</p>"
        "</html>\n"
    )


def _state(read: Read) -> str:
    told = {"version": read.version, "ETag": read.etag}
    return "".join(f", {label} <code>{_text(value)}</code>" for label, value in told.items() if value)


def _row(finding: Finding) -> str:
    compared = ""
    if finding.expected or finding.found:
        expected, found = _text(finding.expected or "-"), _text(finding.found or "-")
        compared = f"<br>expected <code>{expected}</code>, found <code>{found}</code>"
    clause = f" [{_text(finding.clause)}]" if finding.clause else ""
    where = f"<bdi>{_text(finding.path)}</bdi>" if finding.path else ""
    return (
        f"<tr><td>{finding.severity}</td><td><code>{_text(finding.code)}</code>{clause}</td><td>{where}</td>"
        f"<td>{_text(finding.message)}{compared}</td></tr>"
    )


def _facts(report: Report) -> str:
    facts = {
        "container": report.container,
        "payload files": report.payload_files,
        "payload bytes": report.payload_bytes,
    }
    labels = {str(label): str(value) for label, value in report.facts.get("bag_info", ())}
    told = {key: value for key, value in report.facts.items() if value and key not in ("bag_info", "sip")}
    return "".join(
        f"<tr><th>{_text(str(key).replace('_', ' '))}</th><td>{_text(_value(value))}</td></tr>"
        for key, value in {**facts, **told, **labels}.items()
    )


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_text(code)} {count}" for code, count in counts.items())


def _text(text: str) -> str:
    return escape(shown(text))
