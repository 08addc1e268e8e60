"""CERN's bagit-create as an engine, for who must have its very output: run as a program, then judged by our rules.

bagit-create is GPL and never imported. It says success for wrong checksums, error pages and missing files
(cern-oais-platform.md 15), so nothing it returns is believed before it is verified. It needs a disk for the whole
package and keeps its own requests; the built-in engine needs and does neither.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perdura.clients.processes import run_to_end
from perdura.errors import Broken, Rejected, UpstreamUnavailable
from perdura.outcome import ArchiveChange, ArchiveView, File, Finding, Outcome, Package, PackageKind, StepState
from perdura.packages.limits import limits_of
from perdura.packages.package import Report, Verdict
from perdura.packages.sources import LocalTree
from perdura.packages.verify import verify
from perdura.ports import Ports
from perdura.sources.catalogue import Recognised
from perdura.sources.folder import FolderOrigin, plan
from perdura.sources.plan import PlannedFile
from perdura.sources.transfer import fetch
from perdura.steps import harvest_events
from perdura.storage.timed import TimeUp

ENGINE = "bagit-create"

SOURCES = frozenset(
    {
        "cds",
        "ilcdoc",
        "cod",
        "indico",
        "ilcagenda",
        "codimd",
        "zenodo",
        "inveniordm",
        "cds-rdm",
        "cds-rdm-sandbox",
        "dev-cds-rdm",
        "cds-videos",
        "sandbox-videos",
    }
)
"""Sources that bagit-create knows under the same name and harvests without a token."""

_RESULT = re.compile(
    r"Job result: \{'status': (?P<status>\d+), .*'foldername': '(?P<folder>[^'/\x00]{1,300})'", re.DOTALL
)
_FINAL = re.compile(
    r"'errormsg': (?P<said>[^\n]*?(?:HTTP 4(?!08|25|29)\d\d|RecidException|RestrictedContentException|"
    r"WrongInputException|FileURLNotFoundException|\(404\))[^\n]*)\}"
)
"""What bagit-create says of failures that the same request will meet again."""

_OUTPUT = 1 << 20


def run(archive: ArchiveView, ports: Ports, record: Recognised) -> Outcome:
    """Harvest a record with bagit-create, verify its package, and store it as it is.

    Raises Broken when the program is not configured, Rejected for sources it does not have and for failures that will
    stay, UpstreamUnavailable when it failed otherwise or took too long. A package that does not stand our verification
    is FAILED with every finding.
    """
    program = ports.settings.harvest_bic
    if program is None or not os.access(program, os.X_OK):
        raise Broken("The engine bagit-create is not installed here (setting harvest_bic).", code="engine-unavailable")
    if record.source not in SOURCES:
        raise Rejected(f"bagit-create does not harvest {record.profile.name} here.", code="engine-source")
    with tempfile.TemporaryDirectory(prefix="perdura-bic-") as name:
        scratch = Path(name)
        folder = _harvested(program, record, scratch, ports.settings.invocation_seconds * 0.7)
        report = verify(LocalTree(folder), limits=limits_of(ports.settings))
        findings = _findings(folder, report)
        if any(finding.severity == "error" for finding in findings):
            return _refused(archive, ports, record, findings)
        return _stored(archive, ports, record, folder, report, findings)


def _harvested(program: str, record: Recognised, scratch: Path, seconds: float) -> Path:
    """Run the program; its folder. It gets no credentials: it would take them from its command line."""
    target, work = scratch / "target", scratch / "work"
    target.mkdir()
    work.mkdir()
    command = [program, "--source", record.source, "--recid", record.recid]
    command += ["--target", str(target), "--workdir", str(work)]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SSL_CERT_FILE") if name in os.environ}
    output = scratch / "output"
    with output.open("wb") as out:
        try:
            run_to_end(command, {**kept, "HOME": str(scratch)}, scratch, out, seconds)
        except TimeUp as error:
            raise UpstreamUnavailable("bagit-create took too long.", retry_after=600) from error
    with output.open("rb") as out:
        said = out.read(_OUTPUT).decode(errors="replace")
    if final := _FINAL.search(said):
        raise Rejected(f"bagit-create could not harvest the record: {final['said'][:300]}", code="engine-refused")
    match = _RESULT.search(said)
    if match is None or match["status"] != "0" or not (target / match["folder"]).is_dir():
        raise UpstreamUnavailable("bagit-create could not harvest the record.", code="engine-failed", retry_after=600)
    return target / match["folder"]


def _findings(folder: Path, report: Report) -> tuple[Finding, ...]:
    """What our verification says, and the files that the package itself says it does not have."""
    found = [
        Finding(f.code, f.message, "warning" if f.severity == "warning" else "error", f.path, f.clause)
        for f in report.findings
    ]
    if report.verdict in (Verdict.INVALID, Verdict.REJECTED) and not any(f.severity == "error" for f in found):
        found.append(Finding("not-valid", f"The package is {report.verdict}."))
    for entry in _entries(folder):
        if isinstance(entry, dict) and entry.get("downloaded") is False:
            name = str(dict(entry.get("origin") or {}).get("filename", ""))
            found.append(Finding("file-missing", f"bagit-create could not download {name}.", "error", name))
    return tuple(found)


def _entries(folder: Path) -> Sequence[Any]:
    try:
        value = json.loads((folder / "data/meta/sip.json").read_bytes())
    except (OSError, ValueError):
        return ()
    entries = value.get("contentFiles") if isinstance(value, dict) else None
    return entries if isinstance(entries, list) else ()


def _refused(archive: ArchiveView, ports: Ports, record: Recognised, findings: tuple[Finding, ...]) -> Outcome:
    first = next(finding for finding in findings if finding.severity == "error")
    notes = [f"{f.code}: {f.message}" + (f" [{f.path}]" if f.path else "") for f in findings]
    return Outcome(
        state=StepState.FAILED,
        error_code=first.code,
        message=f"bagit-create said success, but its package is not sound: {first.message}",
        findings=findings,
        events=(harvest_events.engine(archive, ports, ENGINE, record.source, record.recid, notes, sound=False),),
        archive=ArchiveChange(source=record.source, recid=record.recid),
    )


def _stored(
    archive: ArchiveView,
    ports: Ports,
    record: Recognised,
    folder: Path,
    report: Report,
    findings: tuple[Finding, ...],
) -> Outcome:
    """Copy the package into the store, every file compared with what was verified; `bagit.txt` last."""
    prefix = f"{archive.id}/bic/{archive.step.attempt}/"
    verified = {file.path: file for file in report.files}
    origin = FolderOrigin(folder)
    files = []
    listed = sorted(plan(folder, record.source).files, key=lambda file: file.key == "bagit.txt")
    for file in listed:
        digests = dict(verified[file.key].checksums) if file.key in verified else {}
        wanted = PlannedFile(file.key, file.url, file.key, file.size, digests, None, None, None)
        done = fetch(wanted, origin, ports.store, ports.settings.bucket_sips, prefix + file.key)
        files.append(File(done.path, done.size, done.checksums))
    package = Package(
        id=ports.derived("sip"),
        kind=PackageKind.SIP,
        bucket=ports.settings.bucket_sips,
        key=prefix,
        container="prefix",
        size=sum(file.size for file in files),
    )
    payload = tuple(file for file in files if file.path.startswith("data/"))
    notes = [f"{len(payload)} payload files; verdict {report.verdict}; the folder was {folder.name}"]
    return Outcome(
        state=StepState.COMPLETED_WITH_WARNINGS if findings else StepState.COMPLETED,
        output={"source": record.source, "recid": record.recid, "engine": ENGINE, "name": folder.name},
        packages=(package,),
        files=((package.id, payload),),
        events=(
            harvest_events.engine(
                archive, ports, ENGINE, record.source, record.recid, notes, sound=True, sip=str(package.id)
            ),
        ),
        facts=(harvest_events.created(archive, package, record.source, record.recid),),
        findings=findings,
        archive=ArchiveChange(title=f"{record.profile.name} {record.recid}", source=record.source, recid=record.recid),
    )
