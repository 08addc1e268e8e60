"""Opens an AIP of Archivematica, whatever it is packed in: its bag judged, its METS as a stream."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perdura.clients import seven_zip
from perdura.errors import Rejected
from perdura.fleet import Archivematica, Stored
from perdura.outcome import Finding, Package
from perdura.packages.findings import Findings
from perdura.packages.layout import find_bag
from perdura.packages.limits import LIMITS
from perdura.packages.mets_read import BadMets
from perdura.packages.opening import open_container
from perdura.packages.package import Verdict
from perdura.packages.sources import LocalTree, StoredObject, StoredPrefix
from perdura.packages.verify import verify
from perdura.ports import Ports
from perdura.storage.store import ObjectRef

_SHOWN = 100
OPENED = frozenset({"tar", "tar.gz", "prefix"})


@dataclass(frozen=True, slots=True)
class Inside:
    """What is within the package: `mets` begins its METS anew at each call; `manifest` maps paths to SHA-256.

    `manifest` is None when the bag could not be opened here; `findings` and `notes` then say so.
    """

    mets: Callable[[], Iterator[bytes | memoryview]]
    manifest: Mapping[str, str] | None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()


@contextmanager
def look_inside(
    package: Package, record: Stored, archivematica: Archivematica | None, ports: Ports
) -> Iterator[Inside]:
    """Open the package and judge its bag; raises BadMets when that is not valid or holds no METS."""
    if package.container in OPENED:
        source = (
            StoredPrefix(ports.store, package.bucket, package.key)
            if package.container == "prefix"
            else StoredObject(
                ports.store,
                ObjectRef(package.bucket, package.key, package.version_id, package.etag),
                package.size,
            )
        )
        yield _opened(source, record, ports)
        return
    program = ports.settings.seven_zip
    if package.container == "7z" and program is not None and package.size <= ports.settings.scratch_bytes:
        with tempfile.TemporaryDirectory(prefix="perdura-aip-") as directory:
            yield _opened(_unpacked(program, package, Path(directory), ports), record, ports)
        return
    if archivematica is None:
        raise BadMets(f"A {package.container} package cannot be opened here.", code="aip-not-opened")
    yield _closed(package, record, archivematica)


def _unpacked(program: str, package: Package, directory: Path, ports: Ports) -> LocalTree:
    archive, target = directory / "aip.7z", directory / "aip"
    target.mkdir()
    with archive.open("wb") as file:
        for chunk in ports.store.stream(ObjectRef(package.bucket, package.key, package.version_id, package.etag)):
            file.write(chunk)
    try:
        seven_zip.unpack(program, archive, target, ports.settings.scratch_bytes - package.size)
    except Rejected as error:
        raise BadMets(error.message, code=error.code) from error
    archive.unlink()
    return LocalTree(target)


def _opened(source: LocalTree | StoredObject | StoredPrefix, record: Stored, ports: Ports) -> Inside:
    report = verify(source, algorithms=("sha256",), progress=lambda done, total: ports.progress("verify", done, total))
    if report.verdict not in {Verdict.VALID, Verdict.WARNINGS}:
        first = next((each for each in report.findings if each.severity != "warning"), None)
        what = f"{first.message} {first.path or ''}".strip() if first else str(report.verdict)
        raise BadMets(f"The AIP is no valid bag: {what}", code="aip-bag-invalid")
    path = f"data/METS.{record.id}.xml"
    manifest = {file.path: file.checksums["sha256"] for file in report.files}
    if path not in manifest:
        raise BadMets(f"The AIP has no {path}.", code="aip-without-mets")

    def mets() -> Iterator[bytes | memoryview]:
        container = open_container(source, LIMITS)
        return container.read(find_bag(container, Findings(LIMITS), LIMITS).index[path])

    return Inside(mets, manifest, notes=("its bag is valid",))


def _closed(package: Package, record: Stored, archivematica: Archivematica) -> Inside:
    """A package that cannot be opened here: its METS comes by the Storage Service, its bag is not judged."""
    folder = record.name
    for suffix in (".7z", ".tar.bz2"):
        folder = folder.removesuffix(suffix)

    def mets() -> Iterator[bytes | memoryview]:
        with archivematica.extract(record.id, f"{folder}/data/METS.{record.id}.xml") as chunks:
            yield from chunks

    message = (
        f"The {package.container} package was compared as a whole with its pointer file; the bag within was not read, "
        "because no program for it is configured or it is too large for the scratch space."
    )
    return Inside(mets, None, (Finding("inside-not-verified", message, "warning"),), ("its bag was not read",))
