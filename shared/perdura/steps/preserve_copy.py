"""Streams every file of a SIP into its AIP once: hashed, collected, identified and scanned on the way."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from perdura.outcome import Finding
from perdura.packages.aip import AipWriter, Layout
from perdura.packages.package import PackageFile
from perdura.ports import Ports, VirusScanner
from perdura.steps.preserve_additions import Addition, bytes_of, replaced
from perdura.steps.preserve_characterise import Characterising
from perdura.steps.preserve_copied import Copied, CopiedFiles
from perdura.steps.preserve_declared import COMPUTED, SIP_JSON, Declarations
from perdura.steps.preserve_inspect import Inspection
from perdura.steps.preserve_rights_read import ToldRights
from perdura.steps.preserve_submission import Submission
from perdura.storage.timed import TimeUp, timed


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
    settings = ports.settings
    with Characterising(
        ports.characterisers, settings.characterise_bytes, settings.invocation_seconds
    ) as characterising:
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
    mismatches, rights = list(declarations.absent()), ToldRights()
    ids = array("B")
    done = number = 0
    gone = replaced(additions, submission.layout) - {SIP_JSON}
    for file, chunks in submission.files():
        if file.path in gone:
            continue
        if ports.deadline.near():
            raise TimeUp
        with inspection.tap(number, file.path.rpartition("/")[2], file.size) as tap:
            wanted = file.is_payload and characterising.wants(file.path, file.size)
            passed = characterising.look(number, file.path, chunks) if wanted else chunks
            feed = rights.tap(file.path, file.size, tap.feed)
            member, digests = aip.add(_place(file, layout), file.size, passed, algorithms=further, tap=feed)
        mismatches += declarations.compare(
            submission.layout.index[file.path], file.path, _lookup(member.digests, digests)
        )
        ids.frombytes(_id(member.path, ports).bytes)
        number += 1
        done += file.size
        ports.progress("preserve", done, size)
    sources: dict[int, str] = {}
    for added in additions:
        with inspection.tap(number, added.path.rpartition("/")[2], added.size) as tap:
            chunks = bytes_of(added, timed(ports.store, ports.deadline.near))
            wanted = characterising.wants(added.path, added.size)
            passed = characterising.look(number, f"data/{added.path}", chunks) if wanted else chunks
            feed = rights.tap(f"data/{added.path}", added.size, tap.feed)
            member, _ = aip.add(layout.objects + added.path, added.size, passed, tap=feed)
        if member.digests["sha256"] != added.sha256:
            mismatches.append(Finding("fixity-mismatch", f"{added.path} has another SHA-256 than was announced"))
        ids.frombytes(_id(member.path, ports).bytes)
        if added.derived_from:
            sources[number] = str(_id(layout.objects + added.derived_from, ports))
        number += 1
    inspection.flush()
    files = CopiedFiles(aip.payload, ids.tobytes(), layout, inspection.formats, inspection.scans, sources)
    return Copied(files, declarations, mismatches, characterising, rights, characterising.keep(aip))


def _id(path: str, ports: Ports) -> UUID:
    return ports.derived(f"file/{path}")


def _lookup(computed: Mapping[str, str], further: Mapping[str, str]) -> Callable[[str], str]:
    return lambda algorithm: further[algorithm] if algorithm in further else computed[algorithm]


def _place(file: PackageFile, layout: Layout) -> str:
    """Payload goes to the objects under its own name; tag files and sip.json keep their place in the submission."""
    if file.is_payload and file.path != SIP_JSON:
        return layout.objects + file.path.removeprefix("data/")
    return layout.submission + file.path
