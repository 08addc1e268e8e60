"""A small bag as a mapping of paths to bytes, and the containers it can be put into."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from perdura.packages.manifests import encode_path
from perdura.storage.memory import MemoryStore

Files = dict[str, bytes]

DECLARATION = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
OLD_DECLARATION = b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n"
PAYLOAD: Mapping[str, bytes] = {"data/hello.txt": b"hello\n", "data/more/numbers.csv": b"1;2;3\n"}
CONTAINERS = ("zip", "deflated", "tar", "tar.gz", "directory", "prefix")


def manifest(files: Mapping[str, bytes], algorithm: str = "sha256") -> bytes:
    """Manifest lines of these files, by path."""
    return "".join(
        f"{hashlib.new(algorithm, data).hexdigest()}  {encode_path(path)}\n" for path, data in sorted(files.items())
    ).encode()


def bag(
    payload: Mapping[str, bytes] = PAYLOAD,
    *,
    algorithms: tuple[str, ...] = ("sha256",),
    declaration: bytes = DECLARATION,
    info: bytes | None = None,
    **changes: bytes | None,
) -> Files:
    """A sound bag of that payload without tag manifests; `changes` replace tag files (`fetch_txt=…`, None: none)."""
    if info is None:
        octets = sum(len(data) for data in payload.values())
        info = f"Payload-Oxum: {octets}.{len(payload)}\n".encode()
    files: Files = {"bagit.txt": declaration, "bag-info.txt": info}
    for algorithm in algorithms:
        files[f"manifest-{algorithm}.txt"] = manifest(payload, algorithm)
    for name, data in changes.items():
        path = name.replace("_txt", ".txt").replace("_", "-")
        if data is None:
            files.pop(path, None)
        else:
            files[path] = data
    return files | dict(payload)


def with_tag_manifest(files: Files, algorithm: str = "sha256") -> Files:
    """The same bag with a tag manifest of all its tag files."""
    tags = {path: data for path, data in files.items() if not path.startswith("data/")}
    return files | {f"tagmanifest-{algorithm}.txt": manifest(tags, algorithm)}


def as_zip(files: Mapping[str, bytes], base: str = "bag/", *, deflated: bool = False) -> bytes:
    """The files in a zip archive; a path that ends in `/` is a directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            info = zipfile.ZipInfo(base + path, (2020, 1, 1, 0, 0, 0))
            info.compress_type = archive.compression if not path.endswith("/") else zipfile.ZIP_STORED
            info.external_attr = (0o040755 if path.endswith("/") else 0o100644) << 16
            archive.writestr(info, data)
    return out.getvalue()


def as_tar(files: Mapping[str, bytes], base: str = "bag/") -> bytes:
    """The files in a tar archive; a path that ends in `/` is a directory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(base + path.rstrip("/"))
            info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def as_directory(files: Mapping[str, bytes], root: Path) -> Path:
    """The files on disk, below a new directory `bag`."""
    root.mkdir(parents=True)
    for path, data in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(data)
    return root


def as_prefix(files: Mapping[str, bytes], store: MemoryStore, prefix: str = "bag/") -> None:
    """The files as objects below a prefix of the bucket `bags`."""
    for path, data in files.items():
        store.put("bags", prefix + path, data)


def as_archive(files: Mapping[str, bytes], kind: str, base: str = "bag/") -> bytes:
    """The files in an archive of that kind."""
    if kind == "tar":
        return as_tar(files, base)
    if kind == "tar.gz":
        return gzip.compress(as_tar(files, base), 1, mtime=0)
    return as_zip(files, base, deflated=kind == "deflated")
