"""Preserve by a3m: the SIP is unpacked as a3m wants it, and what it stores is taken over (archivematica.md 7.8, 10).

a3m refuses bags: it gets the payload as `objects/`, its checksums as `metadata/checksum.sha256`, and the tag files as
submission documentation. Viruses are looked for before, for a3m does not; the AIP is kept byte for byte as it made it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from uuid import UUID

from perdura.clients.a3m import make_aip
from perdura.errors import Broken, Rejected
from perdura.fleet import Stored
from perdura.outcome import ArchiveView, Outcome, PackageKind, StepState
from perdura.ports import Ports
from perdura.steps.preserve_builtin_plan import scanning_of
from perdura.steps.preserve_declared import Declarations
from perdura.steps.preserve_submission import Submission, open_submission
from perdura.steps.preserve_takeover import go_on, take_over_stored
from perdura.storage.timed import timed

_AIP = re.compile(r".*-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.tar\.gz")
_LOCAL_SHARE = 0.25
"""a3m works on copies: a SIP may have this share of the scratch space at most."""


def run(archive: ArchiveView, ports: Ports) -> Outcome:
    """Make the AIP with a3m within this invocation, and take it over, which later ones may finish.

    FAILED when a3m refuses the package, or a virus is found. Raises Rejected without an accepted SIP, Broken when a3m
    is not configured or the package is too large for local disk or time.
    """
    if (outcome := go_on(archive, ports)) is not None:
        return outcome
    program = ports.settings.a3m
    if program is None:
        raise Broken("a3m is not configured", code="no-a3m")
    sip = archive.package(PackageKind.SIP)
    if sip is None:
        raise Rejected("this Archive has no accepted submission package", code="no-sip")
    if sip.size > ports.settings.scratch_bytes * _LOCAL_SHARE:
        raise Broken("the package is too large for the scratch space that a3m needs", code="scratch-too-small")
    scanning = scanning_of(ports)
    if ports.settings.virus_scan == "required" and not scanning.trusted:
        raise Broken(f"a virus scan is required, but {scanning.reason}", code="virus-scan-unavailable")
    with tempfile.TemporaryDirectory(prefix="perdura-a3m-") as directory:
        work = Path(directory)
        submission = open_submission(timed(ports.store, ports.deadline.near), sip)
        infected = _unpack(submission, work / "transfer", ports)
        if infected:
            return Outcome(StepState.FAILED, error_code="infected", message=infected)
        made = make_aip(
            Path(program), work / "transfer", work, str(archive.id), ports.settings.invocation_seconds * 0.8
        )
        return _taken_over(archive, made, ports)


def poll(archives: Sequence[ArchiveView], ports: Ports) -> Sequence[tuple[ArchiveView, Outcome]]:  # noqa: ARG001
    """Nothing of this engine waits for anybody."""
    return ()


def _unpack(submission: Submission, target: Path, ports: Ports) -> str | None:
    """Write the transfer as a3m wants it, comparing every byte with the manifests; the reason to stop, if any."""
    declarations = Declarations(submission)
    checksums: list[str] = []
    documentation = target / "metadata" / "submissionDocumentation"
    documentation.mkdir(parents=True)
    (target / "objects").mkdir()
    for file, chunks in submission.files():
        relative = PurePosixPath(file.path)
        if ".." in relative.parts or relative.is_absolute():
            raise Rejected(f"{file.path} leaves its package", code="path-escapes")
        place = target / "objects" / relative.relative_to("data") if file.is_payload else documentation / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        digests = {name: hashlib.new(name) for name in {"sha256", *declarations.algorithms}}
        with place.open("wb") as out:
            for chunk in chunks:
                out.write(chunk)
                for each in digests.values():
                    each.update(chunk)
        hexes = {name: each.hexdigest() for name, each in digests.items()}
        wrong = next(declarations.compare(submission.layout.index[file.path], file.path, hexes.__getitem__), None)
        if wrong is not None:
            raise Rejected(wrong.message, code="fixity-mismatch")
        if ports.scanner is not None and ports.settings.virus_scan != "off":
            scan = ports.scanner.scan(_read(place), file.size)
            if scan.verdict == "infected":
                return f"{file.path}: {scan.detail}"
        if file.is_payload:
            checksums.append(f"{hexes['sha256']}  ../objects/{relative.relative_to('data')}\n")
    (target / "metadata" / "checksum.sha256").write_text("".join(checksums), "utf-8")
    return None


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            yield data


class _Made:
    """What a3m stored, as if a Storage Service had it: a file on local disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def download(self, package: UUID) -> Iterator[Iterator[bytes]]:  # noqa: ARG002
        """The file as a stream."""
        yield _read(self._path)


def _taken_over(archive: ArchiveView, made: Path, ports: Ports) -> Outcome:
    named = _AIP.fullmatch(made.name)
    if named is None:
        raise Broken(f"a3m gave its AIP an unknown name: {made.name[:80]}", code="a3m-name")
    size = made.stat().st_size
    record = Stored(UUID(named[1]), "AIP", "UPLOADED", f"/{made.name}", size, "", ())
    return take_over_stored(archive, record, _Made(made), ports)
