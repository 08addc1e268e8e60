"""Opens an AIP of Archivematica, whatever it is packed in: its bag judged, its METS as a stream.

A bag of objects or in an uncompressed tar is judged file by file, over as many invocations as it needs. A compressed
one has to be read in one go, and ends by name when there is no time for that.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from perdura.fleet import Archivematica, ArchivematicaUnavailable, Stored
from perdura.outcome import ArchiveView, Finding, Package
from perdura.packages.findings import Findings
from perdura.packages.layout import find_bag
from perdura.packages.limits import AIP_LIMITS
from perdura.packages.opening import open_container
from perdura.packages.package import Report, Verdict
from perdura.packages.sources import LocalFile, LocalTree, StoredObject, StoredPrefix
from perdura.packages.verify import digested, examine
from perdura.ports import Ports
from perdura.steps.preserve_takeover_course import Continued, Course, Flawed, NotJudged, folder
from perdura.steps.preserve_takeover_on_disk import left_closed, on_disk
from perdura.steps.receipts import Receipts
from perdura.steps.stored_bag import judged, state_of
from perdura.steps.stored_package import source_of
from perdura.storage.timed import TimeUp, timed

_OPENED = frozenset({"tar", "tar.gz", "prefix"})
_LIMITED = ("limit-", "name-too-long")
"""How codes of findings begin that speak of our limits, not of the bytes."""
_DIVISIBLE = frozenset({"tar", "prefix"})


@dataclass(frozen=True, slots=True)
class Inside:
    """What is within the package: `mets` begins its METS anew at each call; `manifest` maps paths to SHA-256.

    `manifest` is None when the bag could not be opened here; `findings` and `notes` then say so.
    """

    mets: Callable[[], Iterator[bytes | memoryview]]
    manifest: Mapping[str, str] | None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    put_down: Callable[[], tuple[str, ...]] = tuple
    """Stores what was verified, and gives the keys of its receipts: none where a verification cannot be divided."""


@contextmanager
def look_inside(
    archive: ArchiveView, record: Stored, archivematica: Archivematica | None, course: Course, ports: Ports
) -> Iterator[Inside]:
    """Open the package and judge its bag.

    Raises BadMets or Flawed when that is not valid or holds no METS, NotJudged when it cannot be opened or is beyond
    our limits, Continued when time is up, TimeUp when it cannot be divided and there is not enough.
    """
    package = course.package
    assert package is not None
    if package.container in _OPENED:
        yield _opened(source_of(package, timed(ports.store, ports.deadline.near)), record, archive, course, ports)
        return
    with tempfile.TemporaryDirectory(prefix="perdura-aip-") as directory, ExitStack() as opened:
        tree = None
        try:
            if not course.closed:
                tree = on_disk(package, Path(directory), opened, ports)
            inside = _opened(tree, record, archive, course, ports) if tree is not None else None
        except TimeUp:
            if archivematica is not None and (later := left_closed(archive, course, ports)) is not None:
                raise later from None
            raise
        if inside is None and archivematica is None:
            raise NotJudged(f"A {package.container} package cannot be opened here.", code="aip-not-opened")
        yield inside or _closed(package, record, cast(Archivematica, archivematica), ports)


def _opened(
    source: LocalTree | LocalFile | StoredObject | StoredPrefix,
    record: Stored,
    archive: ArchiveView,
    course: Course,
    ports: Ports,
) -> Inside:
    report, put_down = _judged(source, archive, course, ports)
    if report.verdict not in {Verdict.VALID, Verdict.WARNINGS}:
        first = next((each for each in report.findings if each.severity != "warning"), None)
        what = f"{first.message} {first.path or ''}".strip() if first else str(report.verdict)
        if first is not None and first.code.startswith(_LIMITED):
            raise NotJudged(f"The AIP is larger than is read here: {what}", code="aip-beyond-limits")
        raise Flawed(f"The AIP is no valid bag: {what}", code="aip-bag-invalid")
    path = f"data/METS.{record.id}.xml"
    manifest = {file.path: file.checksums["sha256"] for file in report.files}
    if path not in manifest:
        raise Flawed(f"The AIP has no {path}.", code="aip-without-mets")

    def mets() -> Iterator[bytes | memoryview]:
        container = open_container(source, AIP_LIMITS)
        return container.read(find_bag(container, Findings(AIP_LIMITS), AIP_LIMITS).index[path])

    return Inside(mets, manifest, notes=("its bag is valid",), put_down=put_down)


def _judged(
    source: LocalTree | LocalFile | StoredObject | StoredPrefix, archive: ArchiveView, course: Course, ports: Ports
) -> tuple[Report, Callable[[], tuple[str, ...]]]:
    examined = examine(source, limits=AIP_LIMITS, algorithms=("sha256",))
    if isinstance(examined, Report):
        return examined, tuple
    if examined.container.kind in _DIVISIBLE:
        receipts = Receipts(f"{folder(archive)}aip-{state_of(source)}-", course.receipts, ports)
        report = judged(examined, receipts, ports)
        if report is None:
            raise Continued(replace(course, receipts=receipts.put_down()))
        return report, receipts.put_down

    def progress(done: int, total: int) -> None:
        if ports.deadline.near():
            raise TimeUp
        ports.progress("verify", done, total)

    return digested(examined, progress), tuple


def _closed(package: Package, record: Stored, archivematica: Archivematica, ports: Ports) -> Inside:
    """A package that cannot be opened here: its METS comes by the Storage Service, its bag is not judged."""
    name = record.name
    for suffix in (".7z", ".tar.bz2"):
        name = name.removesuffix(suffix)

    came: dict[str, bytes] = {}

    def mets() -> Iterator[bytes | memoryview]:
        path = f"{name}/data/METS.{record.id}.xml"
        digest = hashlib.sha256()
        with archivematica.extract(record.id, path, ports.deadline.near) as chunks:
            for chunk in chunks:
                digest.update(chunk)
                yield chunk
        if digest.digest() != came.setdefault("first", digest.digest()):
            raise ArchivematicaUnavailable("The METS that the Storage Service extracts came otherwise than before.")

    message = (
        f"The {package.container} package was compared as a whole with its pointer file; the bag within was not read: "
        "no program for it is configured, or it is too large for the scratch space or the time of an invocation."
    )
    return Inside(mets, None, (Finding("inside-not-verified", message, "warning"),), ("its bag was not read",))
