"""Streams every file of a SIP into its AIP once: hashed, collected, identified and scanned on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perdura.errors import Broken
from perdura.packages.aip import OBJECTS, SUBMISSION, AipWriter, Member
from perdura.packages.package import PackageFile
from perdura.steps.outcome import Finding
from perdura.steps.ports import Identification, Ports, Scan, VirusScanner
from perdura.steps.preserve_declared import COMPUTED, SIP_JSON, Declarations, further
from perdura.steps.preserve_inspect import Inspection
from perdura.steps.preserve_submission import Submission
from perdura.storage.digests import HEX_LENGTHS


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of the SIP as it lies in the AIP.

    `further` holds the digests that only the SIP's manifests ask for, one after the other.
    """

    id: str
    member: Member
    further: bytes
    format: Identification | None
    scan: Scan | None

    @property
    def original(self) -> str:
        """Path of the file in the SIP."""
        path = self.member.path
        return "data/" + path.removeprefix(OBJECTS) if self.is_object else path.removeprefix(SUBMISSION)

    @property
    def is_object(self) -> bool:
        """Whether it is payload of the AIP's objects, not documentation of the submission."""
        return self.member.path.startswith(OBJECTS)


@dataclass(frozen=True, slots=True)
class Copied:
    """All files of the SIP, in the order of the tar, and what its tag files say."""

    files: Sequence[CopiedFile]
    declarations: Declarations
    further: Sequence[str]
    """Algorithms of each file's `further` digests, in their order."""

    def mismatches(self) -> list[Finding]:
        """Files whose bytes are not what the SIP's manifests declare."""
        places, start = {}, 0
        for algorithm in self.further:
            places[algorithm] = slice(start, start := start + HEX_LENGTHS[algorithm] // 2)

        def computed(number: int, algorithm: str) -> str:
            file = self.files[number]
            return file.member.digests[algorithm] if algorithm in COMPUTED else file.further[places[algorithm]].hex()

        return list(self.declarations.compare([file.original for file in self.files], computed))


def copy(
    submission: Submission, aip: AipWriter, ports: Ports, scanner: VirusScanner | None, size: int
) -> Copied:
    """Copy all files of the SIP to the AIP; `size` is the SIP's size in bytes, for the progress.

    Raises Broken when the invocation's time runs out, Rejected when the container is not what it was.
    """
    declarations = Declarations(submission)
    algorithms = further(declarations.algorithms)
    inspection = Inspection(ports.identifier, scanner)
    written: list[tuple[Member, bytes]] = []
    done = 0
    for number, (file, chunks) in enumerate(submission.files()):
        if ports.deadline.near():
            raise Broken(
                "the submission package is too large to be preserved within one invocation: "
                "give PERDURA_INVOCATION_SECONDS more time",
                code="invocation-too-short",
            )
        with inspection.tap(number, file.path.rpartition("/")[2], file.size) as tap:
            member, digests = aip.add(_place(file), file.size, chunks, algorithms=algorithms, tap=tap.feed)
        written.append((member, b"".join(map(bytes.fromhex, digests.values()))))
        done += file.size
        ports.progress("preserve", done, size)
    inspection.flush()
    files = [
        CopiedFile(
            str(ports.derived(f"file/{member.path}")),
            member,
            digest,
            inspection.formats.get(number),
            inspection.scans.get(number),
        )
        for number, (member, digest) in enumerate(written)
    ]
    return Copied(files, declarations, algorithms)


def _place(file: PackageFile) -> str:
    """Payload goes to the objects under its own name; tag files and sip.json keep their place in the submission."""
    if file.is_payload and file.path != SIP_JSON:
        return OBJECTS + file.path.removeprefix("data/")
    return SUBMISSION + file.path
