"""Streams every file of a SIP into its AIP once: hashed, collected, identified and scanned on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from perdura.outcome import Finding
from perdura.packages.aip import AipWriter, Layout, Member
from perdura.packages.package import PackageFile
from perdura.ports import Identification, Ports, Scan, VirusScanner
from perdura.steps.preserve_additions import Addition, bytes_of
from perdura.steps.preserve_characterise import Characterising
from perdura.steps.preserve_declared import COMPUTED, SIP_JSON, Declarations
from perdura.steps.preserve_inspect import Inspection
from perdura.steps.preserve_submission import Submission
from perdura.storage.timed import TimeUp


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """One file of the SIP as it lies in the AIP."""

    id: str
    member: Member
    layout: Layout
    format: Identification | None
    scan: Scan | None
    derived_from: str | None = None
    """Id of the file that this one was made from."""

    @property
    def original(self) -> str:
        """Path of the file in the SIP."""
        path = self.member.path
        if self.is_object:
            return "data/" + path.removeprefix(self.layout.objects)
        return path.removeprefix(self.layout.submission)

    @property
    def is_object(self) -> bool:
        """Whether it is payload of the AIP's objects, not documentation of the submission."""
        return self.member.path.startswith(self.layout.objects)


@dataclass(frozen=True, slots=True)
class Copied:
    """All files of the SIP, in the order of the tar; what its tag files say, and where they say otherwise."""

    files: Sequence[CopiedFile]
    declarations: Declarations
    mismatches: Sequence[Finding]
    characterising: Characterising
    outputs: Sequence[Member] = ()


def copy(
    submission: Submission,
    aip: AipWriter,
    layout: Layout,
    ports: Ports,
    scanner: VirusScanner | None,
    size: int,
    additions: Sequence[Addition] = (),
) -> Copied:
    """Copy all files of the SIP to the AIP, then the `additions`; `size` is the SIP's in bytes, for the progress.

    A file of the SIP that an addition replaces is left out.

    Raises TimeUp when the invocation's time runs out, Rejected when the container is not what it was.
    """
    with Characterising(ports.characterisers, ports.settings.characterise_bytes) as characterising:
        return _copied(
            submission, aip, layout, ports, Inspection(ports.identifier, scanner), size, additions, characterising
        )


def _copied(
    submission: Submission,
    aip: AipWriter,
    layout: Layout,
    ports: Ports,
    inspection: Inspection,
    size: int,
    additions: Sequence[Addition],
    characterising: Characterising,
) -> Copied:
    declarations = Declarations(submission)
    further = [name for name in declarations.algorithms if name not in COMPUTED]
    mismatches = list(declarations.absent())
    members: list[Member] = []
    done = number = 0
    replaced = {layout.objects + addition.path for addition in additions}
    for file, chunks in submission.files():
        if _place(file, layout) in replaced:
            continue
        if ports.deadline.near():
            raise TimeUp
        with inspection.tap(number, file.path.rpartition("/")[2], file.size) as tap:
            wanted = file.is_payload and characterising.wants(file.path, file.size)
            passed = characterising.look(number, file.path, chunks) if wanted else chunks
            member, digests = aip.add(_place(file, layout), file.size, passed, algorithms=further, tap=tap.feed)
        mismatches += declarations.compare(
            submission.layout.index[file.path], file.path, _lookup(member.digests, digests)
        )
        members.append(member)
        number += 1
        done += file.size
        ports.progress("preserve", done, size)
    for added in additions:
        with inspection.tap(number, added.path.rpartition("/")[2], added.size) as tap:
            chunks = bytes_of(added, ports.store)
            member, _ = aip.add(layout.objects + added.path, added.size, chunks, tap=tap.feed)
        if member.digests["sha256"] != added.sha256:
            mismatches.append(Finding("fixity-mismatch", f"{added.path} has another SHA-256 than was announced"))
        members.append(member)
        number += 1
    inspection.flush()
    sources = {layout.objects + each.path: each.derived_from for each in additions if each.derived_from}
    files = [
        CopiedFile(
            id=str(ports.derived(f"file/{member.path}")),
            member=member,
            layout=layout,
            format=inspection.formats.get(number),
            scan=inspection.scans.get(number),
            derived_from=_source_of(member.path, sources, layout, ports),
        )
        for number, member in enumerate(members)
    ]
    return Copied(files, declarations, mismatches, characterising, characterising.keep(aip))


def _source_of(path: str, sources: Mapping[str, str], layout: Layout, ports: Ports) -> str | None:
    source = sources.get(path)
    return str(ports.derived(f"file/{layout.objects}{source}")) if source else None


def _lookup(computed: Mapping[str, str], further: Mapping[str, str]) -> Callable[[str], str]:
    return lambda algorithm: further[algorithm] if algorithm in further else computed[algorithm]


def _place(file: PackageFile, layout: Layout) -> str:
    """Payload goes to the objects under its own name; tag files and sip.json keep their place in the submission."""
    if file.is_payload and file.path != SIP_JSON:
        return layout.objects + file.path.removeprefix("data/")
    return layout.submission + file.path
