"""The built-in AIP engine: seconds and memory to make an AIP of small files, beside `bagit.make_bag` and `tar`.

    python benchmarks/aip.py [FILES ...]
    python benchmarks/aip.py --read [EVENTS ...]

Each case runs in a process of its own, over a store that is a directory, so that the engine is measured and not the
network: read the zipped SIP, compare its manifests, identify every file, write the tar with METS and PREMIS, read it
back. The peer makes a bag of unpacked files and packs it, which identifies and describes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from perdura.clients.pronom import PronomIdentifier
from perdura.ids import derived_id, new_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepState, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps.preserve import run
from perdura.storage.directory import DirectoryStore
from perdura.storage.store import Store

CASES = (1_000, 10_000, 100_000)
SIZE = 6 << 10
_SMALL = 300
GOGC = "60"
"""As the container image and `perdura up` set it for the runtime of the format identifier."""

_STARTS: Mapping[str, bytes] = {
    "txt": b"Plain words, and more of them.\n",
    "csv": b"time,value\n0,1\n",
    "xml": b'<?xml version="1.0"?><data/>\n',
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde",
    "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n",
    "gif": b"GIF89a\x01\x00\x01\x00\x80\x00\x00",
    "html": b"<!DOCTYPE html><html><head><title>x</title></head></html>\n",
    "json": b'{"a": 1}\n',
    "wav": b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00",
    "bin": b"\x00\x01\x02\x03",
}


def content(number: int, size: int) -> tuple[str, bytes]:
    """Name and bytes of one file: ten formats in turn, no two files alike."""
    extension = list(_STARTS)[number % len(_STARTS)]
    start = _STARTS[extension] + str(number).encode()
    return f"series-{number // 500:03}/file {number:06}.{extension}", start + b"\n" * max(size - len(start), 0)


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class _Unlimited:
    def near(self) -> bool:
        return False


def make_sip(root: Path, count: int, size: int) -> None:
    """A zipped bag with sha256 and md5 manifests."""
    target = root / "sips" / "sip.zip"
    target.parent.mkdir(parents=True)
    manifests: dict[str, list[str]] = {"md5": [], "sha256": []}
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("bag/bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        for number in range(count):
            name, body = content(number, size)
            archive.writestr(f"bag/data/{name}", body)
            for algorithm, lines in manifests.items():
                lines.append(f"{hashlib.new(algorithm, body).hexdigest()}  data/{name}\n")
        for algorithm, lines in manifests.items():
            archive.writestr(f"bag/manifest-{algorithm}.txt", "".join(lines))


def engine(root: Path) -> dict[str, Any]:
    """Make one AIP; gives seconds, peak memory in MiB and the METS's bytes per file."""
    size = (root / "sips" / "sip.zip").stat().st_size
    sip = Package(new_id(), PackageKind.SIP, "sips", "sip.zip", "zip", size)
    step = UUID(int=1)
    now = datetime.now(UTC)
    archive = ArchiveView(
        new_id(), StepView(step, "preserve", 1, created_at=now), "Benchmark", packages=(sip,), created_at=now
    )
    ports = Ports(
        settings=Settings(),
        store=cast(Store, DirectoryStore(root)),
        clock=_Clock(),
        deadline=_Unlimited(),
        intents=None,  # type: ignore[arg-type]
        progress=lambda *_: None,
        derived=lambda name: derived_id(step, 1, name),
        identifier=PronomIdentifier(),
    )
    before = _peak_memory()
    started, processor = time.perf_counter(), time.process_time()
    outcome = run(archive, ports)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    if outcome.state is not StepState.COMPLETED:
        raise SystemExit(f"the step ended as {outcome.state}: {outcome.message}")
    files = outcome.files[0][1]
    payload = sum(file.path.startswith("data/objects/") for file in files)
    mets = next(file.size for file in files if file.path.endswith("METS.xml"))
    return {
        "files": payload,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(processor, 2),
        "rss_before_mib": before,
        "rss_mib": _peak_memory(),
        "mets_bytes_per_file": round(mets / payload),
    }


def _peak_memory() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peer(count: int, size: int) -> float:
    """Seconds that `bagit.make_bag` (sha256, sha512) and `tar` take for the same files."""
    import bagit

    root = Path(tempfile.mkdtemp(prefix="perdura-bench-"))
    try:
        for number in range(count):
            name, body = content(number, size)
            path = root / "bag" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
        started = time.perf_counter()
        bagit.make_bag(str(root / "bag"), checksums=["sha256", "sha512"])
        subprocess.run(["tar", "-cf", root / "bag.tar", "-C", root, "bag"], check=True)
        return round(time.perf_counter() - started, 2)
    finally:
        shutil.rmtree(root)


READ_CASES = (350_000, 1_400_000)
_EVENT = (
    '<mets:digiprovMD ID="digiprovMD_{0}"><mets:mdWrap MDTYPE="PREMIS:EVENT"><mets:xmlData><premis:event version="3.0">'
    "<premis:eventIdentifier><premis:eventIdentifierType>UUID</premis:eventIdentifierType><premis:eventIdentifierValue>"
    "fe2228c3-f200-44aa-a20b-{0:012}</premis:eventIdentifierValue></premis:eventIdentifier><premis:eventType>fixity "
    "check</premis:eventType><premis:eventDateTime>2026-11-21T22:36:54.150947+00:00</premis:eventDateTime>"
    '<premis:eventDetailInformation><premis:eventDetail>program="sha256sum"</premis:eventDetail>'
    "</premis:eventDetailInformation><premis:eventOutcomeInformation><premis:eventOutcome>Pass</premis:eventOutcome>"
    "</premis:eventOutcomeInformation><premis:linkingAgentIdentifier><premis:linkingAgentIdentifierType>preservation "
    "system</premis:linkingAgentIdentifierType><premis:linkingAgentIdentifierValue>Archivematica-1.17"
    "</premis:linkingAgentIdentifierValue></premis:linkingAgentIdentifier></premis:event></mets:xmlData></mets:mdWrap>"
    "</mets:digiprovMD>"
)
_OBJECT = (
    '<mets:techMD ID="techMD_{0}"><mets:mdWrap MDTYPE="PREMIS:OBJECT"><mets:xmlData><premis:object version="3.0"'
    ' xsi:type="premis:file"><premis:objectIdentifier><premis:objectIdentifierType>UUID</premis:objectIdentifierType>'
    "<premis:objectIdentifierValue>0e2228c3-f200-44aa-a20b-{0:012}</premis:objectIdentifierValue>"
    "</premis:objectIdentifier><premis:objectCharacteristics><premis:fixity><premis:messageDigestAlgorithm>sha256"
    "</premis:messageDigestAlgorithm><premis:messageDigest>{0:064x}</premis:messageDigest></premis:fixity>"
    "<premis:size>300</premis:size><premis:format><premis:formatDesignation><premis:formatName>Plain Text"
    "</premis:formatName></premis:formatDesignation></premis:format></premis:objectCharacteristics>"
    "<premis:originalName>%transferDirectory%objects/file {0}.txt</premis:originalName></premis:object>"
    "</mets:xmlData></mets:mdWrap></mets:techMD>"
)
_FILE = (
    '<mets:file ID="file-{0}" ADMID="amdSec_{0}"><mets:FLocat LOCTYPE="OTHER" OTHERLOCTYPE="SYSTEM"'
    ' xlink:href="objects/file%20{0}.txt"/></mets:file>'
)
_HEAD = (
    '<mets:mets xmlns:mets="http://www.loc.gov/METS/" xmlns:premis="http://www.loc.gov/premis/v3"'
    ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
)


def long_mets(events: int) -> Iterator[bytes]:
    """A METS of seven events to a file, with its object and its place, as Archivematica writes it, in pieces."""
    yield _HEAD.encode()
    for start in range(0, events, 7):
        section = "".join(_EVENT.format(number) for number in range(start, min(start + 7, events)))
        yield f'<mets:amdSec ID="amdSec_{start}">{_OBJECT.format(start)}{section}</mets:amdSec>'.encode()
    yield b'<mets:fileSec><mets:fileGrp USE="original">'
    for start in range(0, events, 7):
        yield _FILE.format(start).encode()
    yield b"</mets:fileGrp></mets:fileSec></mets:mets>"


def read(events: int) -> dict[str, Any]:
    """Read such a METS: every event made a value, every object and place; gives seconds and peak memory."""
    from perdura.packages.mets_read import MetsEvent, MetsFile, MetsObject, read_mets
    from perdura.premis.xml import event_from

    started, processor = time.perf_counter(), time.process_time()
    found = objects = files = 0
    for part in read_mets(long_mets(events)):
        if isinstance(part, MetsEvent):
            event_from(part.element)
            found += 1
        objects += isinstance(part, MetsObject)
        files += isinstance(part, MetsFile)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    if (found, objects, files) != (events, -(-events // 7), -(-events // 7)):
        raise SystemExit(f"{found} events, {objects} objects and {files} files were read")
    return {
        "events": found,
        "objects": objects,
        "bytes": sum(map(len, long_mets(events))),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(processor, 1),
        "cpu_microseconds_per_event": round(1e6 * processor / found, 1),
        "rss_mib": _peak_memory(),
    }


def main() -> None:
    """Run every case and print one line of JSON for each."""
    if sys.argv[1:2] == ["--read-one"]:
        print(json.dumps(read(int(sys.argv[2]))))
        return
    if sys.argv[1:2] == ["--read"]:
        for count in sys.argv[2:] or map(str, READ_CASES):
            subprocess.run([sys.executable, __file__, "--read-one", count], check=True)
        return
    if sys.argv[1:2] == ["--engine"]:
        print(json.dumps(engine(Path(sys.argv[2]))))
        return
    for count in map(int, sys.argv[1:] or CASES):
        size = SIZE if count <= 10_000 else _SMALL
        with tempfile.TemporaryDirectory(prefix="perdura-bench-") as root:
            make_sip(Path(root), count, size)
            command = [sys.executable, __file__, "--engine", root]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "GOGC": GOGC})
        print(json.dumps({**json.loads(done.stdout), "bagit_and_tar_seconds": peer(count, size)}), flush=True)


if __name__ == "__main__":
    main()
