"""Streams every file of a SIP into its AIP once: hashed, collected, identified and scanned on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perdura.errors import Broken
from perdura.packages.aip import OBJECTS, SUBMISSION, AipWriter, Chunk, Member
from perdura.packages.package import PackageFile, PackageReader
from perdura.steps.outcome import Finding
from perdura.steps.ports import Identification, Ports, Scan, VirusScanner
from perdura.steps.preserve_declared import COMPUTED, SIP_JSON, Declarations, further
from perdura.steps.preserve_inspect import Inspection

_READ_ONCE = "tar.gz"
"""Passing over a file of this container costs as much as reading it."""

_READ_ONCE_ALGORITHMS = ("md5", "sha1")


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of the SIP as it lies in the AIP; `declared` has digests only the SIP's manifests ask for."""

    id: str
    member: Member
    original: str
    declared: Mapping[str, str]
    format: Identification | None
    scan: Scan | None

    @property
    def is_object(self) -> bool:
        """Whether it is payload of the AIP's objects, not documentation of the submission."""
        return self.member.path.startswith(OBJECTS)


@dataclass(frozen=True, slots=True)
class Copied:
    """All files of the SIP, in the order of the tar, and what its tag files say."""

    files: Sequence[CopiedFile]
    declarations: Declarations

    def mismatches(self) -> list[Finding]:
        """Files whose bytes are not what the SIP's manifests declare."""

        def computed(number: int, algorithm: str) -> str:
            file = self.files[number]
            return file.member.digests[algorithm] if algorithm in COMPUTED else file.declared[algorithm]

        return list(self.declarations.compare([file.original for file in self.files], computed))


def copy(reader: PackageReader, aip: AipWriter, ports: Ports, scanner: VirusScanner | None, size: int) -> Copied:
    """Copy all files of `reader` to `aip`; `size` is the SIP's size in bytes, for the progress.

    Raises Broken when the invocation's time runs out, Rejected when the container is not what it was.
    """
    declarations = Declarations()
    algorithms: Sequence[str] = _READ_ONCE_ALGORITHMS
    if reader.container != _READ_ONCE:
        declarations.read_ahead(reader)
        algorithms = further(declarations.algorithms)
    inspection = Inspection(ports.identifier, scanner)
    written: list[tuple[str, Member, Mapping[str, str]]] = []
    done = 0
    for number, (file, chunks) in enumerate(reader.files()):
        if ports.deadline.near():
            raise Broken(
                "the submission package is too large to be preserved within one invocation: "
                "give PERDURA_INVOCATION_SECONDS more time",
                code="invocation-too-short",
            )
        collect = declarations.collector(file.path) if reader.container == _READ_ONCE else None
        with inspection.tap(number, file.path.rpartition("/")[2], file.size) as tap:
            member, digests = aip.add(
                _place(file), file.size, chunks, algorithms=algorithms, tap=_both(tap.feed, collect)
            )
        written.append((file.path, member, digests))
        done += file.size
        ports.progress("preserve", done, size)
    inspection.flush()
    files = [
        CopiedFile(
            str(ports.derived(f"file/{member.path}")),
            member,
            original,
            digests,
            inspection.formats.get(number),
            inspection.scans.get(number),
        )
        for number, (original, member, digests) in enumerate(written)
    ]
    return Copied(files, declarations)


def _place(file: PackageFile) -> str:
    """Payload goes to the objects under its own name; tag files and sip.json keep their place in the submission."""
    if file.is_payload and file.path != SIP_JSON:
        return OBJECTS + file.path.removeprefix("data/")
    return SUBMISSION + file.path


def _both(first: Callable[[Chunk], None], second: Callable[[Chunk], None] | None) -> Callable[[Chunk], None]:
    if second is None:
        return first

    def feed(chunk: Chunk) -> None:
        first(chunk)
        second(chunk)

    return feed
