"""Preserve by a3m: the SIP is unpacked as a3m wants it, and what it stores is taken over (archivematica.md 7.8, 10).

a3m refuses bags: it gets the payload as `objects/`, its checksums as `metadata/checksum.sha256`, and the tag files as
submission documentation. Viruses are looked for before, for a3m does not; the AIP is kept byte for byte as it made it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote
from uuid import UUID

from perdura.clients.a3m import make_aip
from perdura.errors import Broken, Rejected
from perdura.fleet import Stored
from perdura.outcome import ArchiveView, Finding, Outcome, StepState
from perdura.packages.limits import limits_of
from perdura.ports import Identification, Ports, Scan
from perdura.premis.model import Identifier
from perdura.steps.preserve_additions import bytes_of, replaced
from perdura.steps.preserve_builtin_plan import Plan, plan_of
from perdura.steps.preserve_declared import Declarations
from perdura.steps.preserve_refused import refused, unavailable
from perdura.steps.preserve_renewed import renewal_of, told
from perdura.steps.preserve_scanning import unscanned, virus_checks
from perdura.steps.preserve_submission import open_submission
from perdura.steps.preserve_takeover import go_on, take_over_stored
from perdura.storage.digests import Digests
from perdura.storage.timed import TimeUp, timed

_AIP = re.compile(r".*-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.tar\.gz")
_LOCAL_SHARE = 0.25
"""a3m works on copies: a SIP may have this share of the scratch space at most."""
_VERSION = "perdura-version.txt"
"""Document within a3m's AIP that names the AIP which it follows."""
_UNSCANNED = "unscanned"
"""Name within a step's checkpoint of what the scanner could not look into."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Make the AIP with a3m within this invocation, and take it over, which later ones may finish.

    FAILED when a3m refuses the package, when its bytes are not those that were accepted, or a virus is found; BLOCKED
    when a required scan cannot be had. Raises Rejected without an accepted SIP, Broken when a3m is not configured or
    the package is too large for local disk, TimeUp when it is too large for the time.
    """
    if (outcome := go_on(archive, ports, scanned=True)) is not None:
        return _warned(outcome, _earlier(archive))
    program = ports.settings.a3m
    if program is None:
        raise Broken("a3m is not configured", code="no-a3m")
    plan = plan_of(archive, ports)
    if plan.sip.size + sum(each.size for each in plan.additions) > ports.settings.scratch_bytes * _LOCAL_SHARE:
        raise Broken("the package is too large for the scratch space that a3m needs", code="scratch-too-small")
    if (outcome := unavailable(plan.scanning, ports)) is not None:
        return outcome
    with tempfile.TemporaryDirectory(prefix="perdura-a3m-") as directory:
        work = Path(directory)
        files, mismatches = _unpack(plan, work / "transfer")
        if (outcome := refused(plan.scanning, mismatches, files, plan.about_sip, ports)) is not None:
            return outcome
        checks = tuple(act.event for act in virus_checks(plan.scanning, plan.about_sip, files))
        try:
            limit = ports.settings.invocation_seconds * 0.8
            made = make_aip(Path(program), work / "transfer", work, str(archive.id), limit, near=ports.deadline.near)
            outcome = _taken_over(archive, made, ports)
        except Rejected as error:
            return Outcome(StepState.FAILED, error_code=error.code, message=error.message, events=checks)
    return _warned(replace(outcome, events=(*checks, *outcome.events)), unscanned(files, ports))


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:  # noqa: ARG001
    """Nothing of this engine waits for anybody."""
    return ()


@dataclass(frozen=True, slots=True)
class _Unpacked:
    """The files of the SIP as they were handed to a3m: paths and scans. Their UUIDs will be a3m's."""

    sip: UUID
    paths: list[str] = field(default_factory=list)
    scans: list[Scan | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def link(self, number: int, /) -> Identifier:
        return Identifier("URI", f"urn:uuid:{self.sip}#{quote(self.paths[number])}")

    def format(self, number: int, /) -> Identification | None:  # noqa: ARG002
        return None

    def scan(self, number: int, /) -> Scan | None:
        return self.scans[number]

    def original(self, number: int, /) -> str:
        return self.paths[number]


def _unpack(plan: Plan, target: Path) -> tuple[_Unpacked, list[Finding]]:
    """Write the transfer as a3m wants it, comparing every byte with the manifests, and scan each file.

    A new version's additions are among its objects, in the place of those that they replace.
    """
    ports = plan.ports
    submission = open_submission(timed(ports.store, ports.deadline.near), plan.sip, limits_of(ports.settings))
    declarations = Declarations(submission)
    unpacked, mismatches = _Unpacked(plan.sip.id), list(declarations.absent())
    checksums: list[str] = []
    documentation = target / "metadata" / "submissionDocumentation"
    documentation.mkdir(parents=True)
    (target / "objects").mkdir()
    scanner, gone = plan.scanning.scanner, replaced(plan.additions, submission.layout)

    def put(path: str, size: int, chunks: Iterable[memoryview], algorithms: Iterable[str]) -> dict[str, str]:
        if ports.deadline.near():
            raise TimeUp
        relative = PurePosixPath(path)
        if ".." in relative.parts or relative.is_absolute():
            raise Rejected(f"{path} leaves its package", code="path-escapes")
        is_payload = relative.parts[0] == "data"
        place = target / "objects" / relative.relative_to("data") if is_payload else documentation / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        hexes = _written(place, chunks, {"sha256", *algorithms})
        unpacked.paths.append(path)
        unpacked.scans.append(scanner.scan(_read(place), size) if scanner is not None else None)
        if is_payload:
            checksums.append(f"{hexes['sha256']}  ../objects/{relative.relative_to('data')}\n")
        return hexes

    for file, chunks in submission.files():
        if file.path not in gone:
            hexes = put(file.path, file.size, chunks, declarations.algorithms)
            mismatches += declarations.compare(submission.layout.index[file.path], file.path, hexes.__getitem__)
    for added in plan.additions:
        hexes = put(f"data/{added.path}", added.size, bytes_of(added, timed(ports.store, ports.deadline.near)), ())
        if hexes["sha256"] != added.sha256:
            mismatches.append(Finding("fixity-mismatch", f"{added.path} has another SHA-256 than was announced"))
    if (renewal := renewal_of(plan.archive)) is not None:
        (documentation / _VERSION).write_text(told(renewal), "utf-8")
    (target / "metadata" / "checksum.sha256").write_text("".join(checksums), "utf-8")
    return unpacked, mismatches


def _written(place: Path, chunks: Iterable[memoryview], algorithms: Iterable[str]) -> dict[str, str]:
    """Write a file; gives back its hex digests by algorithm."""
    digests = Digests(algorithms)
    with place.open("wb") as out:
        for chunk in chunks:
            out.write(chunk)
            digests.update(chunk)
    return digests.hexdigests()


def _warned(outcome: Outcome, warnings: Sequence[Finding]) -> Outcome:
    """The outcome with what the scanner could not look into, which a later invocation tells when it ends the step."""
    if not warnings:
        return outcome
    if outcome.state is StepState.QUEUED:
        kept = [asdict(finding) for finding in warnings]
        return replace(outcome, checkpoint={**(outcome.checkpoint or {}), _UNSCANNED: kept})
    state = StepState.COMPLETED_WITH_WARNINGS if outcome.state is StepState.COMPLETED else outcome.state
    return replace(outcome, state=state, findings=(*outcome.findings, *warnings))


def _earlier(archive: ArchiveView) -> tuple[Finding, ...]:
    return tuple(Finding(**each) for each in archive.step.checkpoint.get(_UNSCANNED, ()))


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            yield data


class _Made:
    """What a3m stored, as if a Storage Service had it: a file on local disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def download(self, package: UUID, near: Callable[[], bool]) -> Iterator[Iterator[bytes]]:  # noqa: ARG002
        """The file as a stream."""
        yield _read(self._path)


def _taken_over(archive: ArchiveView, made: Path, ports: Ports) -> Outcome:
    named = _AIP.fullmatch(made.name)
    if named is None:
        raise Broken(f"a3m gave its AIP an unknown name: {made.name[:80]}", code="a3m-name")
    size = made.stat().st_size
    record = Stored(UUID(named[1]), "AIP", "UPLOADED", f"/{made.name}", size, "", ())
    return take_over_stored(archive, record, _Made(made), ports)
