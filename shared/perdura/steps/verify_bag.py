"""Verify an AIP that lies as many objects, an uncompressed one of Archivematica: each file by its own digest.

Every byte is read. A file is compared with what the manifests of the bag say of it and, where the registry knows a
digest of it, with that; nothing may be missing, and nothing be there beside. What is done when time is up is put down
as a receipt for the next invocation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from perdura.errors import NotStored
from perdura.outcome import ArchiveView, File, Outcome, Package, StepState
from perdura.packages.limits import AIP_LIMITS
from perdura.packages.package import PackageFile, Report, Verdict
from perdura.packages.sources import StoredPrefix
from perdura.packages.verify import Examination, examine
from perdura.ports import Ports
from perdura.steps.receipts import Receipts
from perdura.steps.stored_bag import judged, state_of
from perdura.steps.verify_outcome import as_expected, failed
from perdura.storage.timed import timed

FILES = "registered_files"
"""Name of the extra that gives the files which the registry knows of a package, by path."""
TOLD = 20
"""Most files that are named."""
_MISSING, _THERE = "missing", "there"


@dataclass
class Differences:
    """What is not as expected: for the first of them what was, and what was found, by path."""

    expected: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    count: int = 0
    gone: bool = False
    """Whether nothing is there at all."""

    def add(self, what: str, expected: str, found: str) -> None:
        """Note one more; what was noted before of the same path stays."""
        if what in self.expected:
            return
        self.count += 1
        if len(self.expected) < TOLD:
            self.expected[what], self.found[what] = expected, found

    @property
    def said(self) -> str:
        """All of it in one sentence."""
        if self.gone:
            return "The objects are no longer in the store"
        shown = "; ".join(f"{path}: {self.found[path]}, not {what}" for path, what in self.expected.items())
        more = f"; and {self.count - len(self.expected)} more" if self.count > len(self.expected) else ""
        return f"The stored copy is not what was preserved: {shown}{more}"


def run(archive: ArchiveView, aip: Package, ports: Ports) -> Outcome:
    """COMPLETED with the copy's date of verification renewed; FAILED with `fixity-mismatch` or `copy-missing`.

    Raises TimeUp when an invocation is too short for one file of it, Retryable when the store does not answer.
    """
    again, keys = bool(archive.step.checkpoint.get("again")), tuple(archive.step.checkpoint.get("receipts", ()))
    source = StoredPrefix(timed(ports.store, ports.deadline.near), aip.bucket, aip.key)
    registered: Iterable[File] = (ports.extras or {}).get(FILES, lambda _: ())(aip.id)
    differences, count = Differences(), 0
    try:
        examined = examine(source, limits=AIP_LIMITS, algorithms=("sha256",))
        report: Report | None = examined if isinstance(examined, Report) else None
        if isinstance(examined, Examination):
            reading = "second" if again else "first"
            receipts = Receipts(_receipts(archive, f"{reading}-{state_of(source)}"), keys, ports)
            report = judged(examined, receipts, ports)
            if report is None:
                return Outcome(StepState.QUEUED, checkpoint={"receipts": list(receipts.put_down()), "again": again})
            _compare_size(differences, aip, examined.container.stored_size)
        if report is not None:
            count = len(report.files)
            _compare(differences, report, registered)
    except NotStored as error:
        differences.add("object", _THERE, error.message)
    if not differences.count:
        note = f"{aip.size} bytes in {count} files, each with its own digest as expected"
        return as_expected(archive, aip, {}, note, ports)
    if not again:
        return Outcome(StepState.QUEUED, checkpoint={"again": True})
    code = "copy-missing" if differences.gone else "fixity-mismatch"
    return failed(archive, aip, code, differences.said, differences.expected, differences.found, ports)


def _receipts(archive: ArchiveView, reading: str) -> str:
    return f"{archive.id}/verification/{archive.step.id}/{reading}-"


def _compare_size(differences: Differences, aip: Package, size: int) -> None:
    if size != aip.size:
        differences.add("size", str(aip.size), str(size))


def _compare(differences: Differences, report: Report, registered: Iterable[File]) -> None:
    """Note every file that has another digest than it must have, and every other fault of the bag."""
    if report.verdict is Verdict.REJECTED:
        differences.gone = "container-empty" in report.counts
    else:
        for path, expected, found in _wrong(report.files, registered):
            differences.add(path, expected, found)
    for finding in report.findings:
        if finding.severity != "warning":
            differences.add(finding.path or "bag", "a valid bag", finding.message)


def _wrong(files: Iterable[PackageFile], registered: Iterable[File]) -> Iterator[tuple[str, str, str]]:
    """Path, expected and found digest of the files that differ; both come in the order of their paths."""
    known = iter(registered)
    told = next(known, None)
    for file in files:
        while told is not None and told.path < file.path:
            yield told.path, _digest(told), _MISSING
            told = next(known, None)
        expected = dict(file.declared)
        if told is not None and told.path == file.path:
            expected |= told.checksums
            told = next(known, None)
        for name, digest in expected.items():
            found = file.checksums.get(name, digest)
            if found != digest:
                yield file.path, f"{name} {digest}", f"{name} {found}"
    while told is not None:
        yield told.path, _digest(told), _MISSING
        told = next(known, None)


def _digest(file: File) -> str:
    return next((f"{name} {digest}" for name, digest in sorted(file.checksums.items(), reverse=True)), _THERE)
