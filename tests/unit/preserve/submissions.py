"""SIPs made in memory for the preserve step, and the AIPs it makes of them."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from perdura.outcome import ArchiveView, Package, PackageKind, StepView
from perdura.packages.manifests import encode_path
from perdura.storage.memory import MemoryStore

ARCHIVE = UUID("0190a1b2-0000-7000-8000-000000000001")
SIP = UUID("0190a1b2-0000-7000-8000-000000000002")
CREATED = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)
BEGUN = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
STEP = StepView(UUID("0190a1b2-0000-7000-8000-000000000003"), "preserve", 1, created_at=BEGUN)

FILES: Mapping[str, bytes] = {
    "data/readme.txt": b"Read me.\n",
    "data/results/table 1.csv": b"a,b\n1,2\n",
    "data/results/größe & <maß>.txt": "Größe\n".encode(),
    "data/empty.dat": b"",
}


def bag(files: Mapping[str, bytes] = FILES, algorithms: tuple[str, ...] = ("md5",)) -> dict[str, bytes]:
    """All files of a BagIt 1.0 bag with that payload."""
    made = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": b"Title: A study\nSource-Organization: Institute of\n Measures\n",
    }
    for algorithm in algorithms:
        lines = (f"{hashlib.new(algorithm, body).hexdigest()}  {encode_path(path)}\n" for path, body in files.items())
        made[f"manifest-{algorithm}.txt"] = "".join(lines).encode()
    return {**made, **files}


def zipped(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for path, body in files.items():
            archive.writestr(f"bag/{path}", body)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for path, body in files.items():
            info = tarfile.TarInfo(f"bag/{path}")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()


def archive_of(package: Package) -> ArchiveView:
    """An Archive with that SIP, ready for the step."""
    return ArchiveView(ARCHIVE, STEP, title="A study", packages=(package,), created_at=CREATED)


def deposit(store: MemoryStore, data: bytes, container: str = "zip") -> ArchiveView:
    """Store the SIP as one object."""
    info = store.put("perdura-sips", f"{ARCHIVE}/sip", data).info
    package = Package(SIP, PackageKind.SIP, "perdura-sips", info.ref.key, container, len(data))
    return archive_of(replace(package, version_id=info.ref.version_id, etag=info.ref.etag))


def deposit_prefix(store: MemoryStore, files: Mapping[str, bytes]) -> ArchiveView:
    """Store the SIP unpacked."""
    for path, body in files.items():
        store.put("perdura-sips", f"{ARCHIVE}/sip/{path}", body)
    size = sum(map(len, files.values()))
    return archive_of(Package(SIP, PackageKind.SIP, "perdura-sips", f"{ARCHIVE}/sip/", "prefix", size))


def stored(store: MemoryStore, suffix: str = ".tar") -> bytes:
    """The AIP (or with `.index.jsonl` its index) as it lies in the store."""
    return store.read(store.head("perdura-aips", f"{ARCHIVE}/{ARCHIVE}{suffix}").ref)


def unpacked(aip: bytes) -> dict[str, bytes]:
    """Path in the bag → bytes of every member of an AIP."""
    with tarfile.open(fileobj=io.BytesIO(aip)) as archive:
        found = {}
        for member in archive:
            body = archive.extractfile(member)
            assert body is not None
            found[member.name.removeprefix(f"{ARCHIVE}/")] = body.read()
        return found
