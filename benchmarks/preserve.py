"""The built-in AIP engine: seconds and memory to make an AIP of small files, beside `bagit.make_bag` and `tar`.

    python benchmarks/preserve.py [FILES ...]

Each case runs in a process of its own, over a store that is a directory, so that the engine is measured and not the
network: read the zipped SIP, compare its manifests, identify every file, write the tar with METS and PREMIS, read it
back. The peer makes a bag of unpacked files and packs it, which identifies and describes nothing.
"""

from __future__ import annotations

import hashlib
import json
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
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from perdura.clients.pronom import PronomIdentifier
from perdura.errors import NotStored
from perdura.ids import derived_id, new_id
from perdura.outcome import ArchiveView, Package, PackageKind, StepState, StepView
from perdura.ports import Ports
from perdura.settings import Settings
from perdura.steps.preserve import run
from perdura.storage.digests import Digests
from perdura.storage.store import ObjectInfo, ObjectRef, Store, Written

CASES = (1_000, 10_000, 100_000)
SIZE = 6 << 10
_SMALL = 300
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


class DirectoryStore:
    """As much of a Store as the engine needs, over a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, bucket: str, key: str) -> Path:
        """Where an object lies."""
        return self._root / bucket / key

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectInfo:
        """What is stored there."""
        path = self.path(bucket, key)
        if not path.exists():
            raise NotStored(f"{bucket}/{key} is not there")
        return ObjectInfo(ObjectRef(bucket, key, version_id), path.stat().st_size)

    def read(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a range."""
        with self.path(ref.bucket, ref.key).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if length is None else length)

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        """Fill the buffer; gives the bytes there were."""
        with self.path(ref.bucket, ref.key).open("rb") as file:
            file.seek(offset)
            return file.readinto(buffer)

    def stream(
        self, ref: ObjectRef, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[memoryview]:
        """Bytes of a range in chunks."""
        with self.path(ref.bucket, ref.key).open("rb") as file:
            file.seek(offset)
            left = self.head(ref.bucket, ref.key).size - offset if length is None else length
            while left > 0 and (data := file.read(min(chunk, left))):
                left -= len(data)
                yield memoryview(data)

    def writer(self, bucket: str, key: str, *, algorithms: tuple[str, ...] = ("sha256",), **_: Any) -> _FileWriter:
        """Write an object as a stream."""
        return _FileWriter(self, bucket, key, algorithms)


class _FileWriter:
    def __init__(self, store: DirectoryStore, bucket: str, key: str, algorithms: tuple[str, ...]) -> None:
        self._place = (bucket, key)
        self._store = store
        self._digests = Digests(algorithms)
        path = store.path(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self.position = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._digests.update(data)
        self._file.write(data)
        self.position += len(data)

    def finish(self) -> Written:
        self._file.close()
        return Written(self._store.head(*self._place), self._digests.hexdigests())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


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


def main() -> None:
    """Run every case and print one line of JSON for each."""
    if sys.argv[1:2] == ["--engine"]:
        print(json.dumps(engine(Path(sys.argv[2]))))
        return
    for count in map(int, sys.argv[1:] or CASES):
        size = SIZE if count <= 10_000 else _SMALL
        with tempfile.TemporaryDirectory(prefix="perdura-bench-") as root:
            make_sip(Path(root), count, size)
            done = subprocess.run([sys.executable, __file__, "--engine", root], check=True, stdout=subprocess.PIPE)
        print(json.dumps({**json.loads(done.stdout), "bagit_and_tar_seconds": peer(count, size)}), flush=True)


if __name__ == "__main__":
    main()
