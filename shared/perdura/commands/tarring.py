"""A folder as a tar of known length, made while it is sent: nothing is copied, nothing is held in memory."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

BLOCK = tarfile.BLOCKSIZE
CHUNK = 1 << 20
ALGORITHMS = ("sha256", "sha512")
Noted = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the tar: its name there, its size in bytes, and where its bytes come from."""

    name: str
    size: int
    source: Path | bytes


def is_bag(folder: Path) -> bool:
    """Whether the folder says of itself that it is a bag (BagIt 1.0, 2.1.1)."""
    return (folder / "bagit.txt").is_file()


def members(folder: Path, base: str) -> list[Member]:
    """Every regular file below a folder, by name, under the directory `base`.

    Raises click.UsageError at a symbolic link or anything else that is no file: a package must stand on its own.
    """
    found = []
    for directory, names, files in os.walk(folder):
        names.sort()
        for name in [*files, *(name for name in names if os.path.islink(os.path.join(directory, name)))]:
            path = Path(directory, name)
            if path.is_symlink() or not path.is_file():
                raise click.UsageError(f"{path} is no regular file; a package cannot hold it")
            found.append(Member(f"{base}/{path.relative_to(folder).as_posix()}", path.stat().st_size, path))
    return sorted(found, key=lambda member: member.name)


def bag_of(folder: Path, base: str, noted: Noted) -> list[Member]:
    """A folder as a bag: its files as payload below `data/`, hashed once, with the tag files beside them.

    `noted(bytes)` is called as hashing goes on. BagIt 1.0 with SHA-256 and SHA-512 (RFC 8493 2.1.3, 2.2.1).
    """
    payload = members(folder, f"{base}/data")
    if not payload:
        raise click.UsageError(f"{folder} holds no file")
    digests = {member.name: _digests(member, noted) for member in payload}
    oxum = f"{sum(member.size for member in payload)}.{len(payload)}"
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Bag-Software-Agent: perdura\nPayload-Oxum: {oxum}\n".encode(),
        **{f"manifest-{name}.txt": _manifest(digests, name, f"{base}/") for name in ALGORITHMS},
    }
    of_tags = {
        f"{base}/{name}": {algorithm: hashlib.new(algorithm, content).hexdigest() for algorithm in ALGORITHMS}
        for name, content in tags.items()
    }
    tags |= {f"tagmanifest-{name}.txt": _manifest(of_tags, name, f"{base}/") for name in ALGORITHMS}
    return [*(Member(f"{base}/{name}", len(content), content) for name, content in tags.items()), *payload]


def tar_size(all_members: list[Member]) -> int:
    """Bytes of the tar that `tar_stream` gives."""
    length = sum(len(_header(member)) + _padded(member.size) for member in all_members) + 2 * BLOCK
    return -(-length // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def tar_stream(all_members: list[Member]) -> Iterator[bytes]:
    """The tar, chunk by chunk; the same members give the same bytes.

    Raises click.ClickException where a file is not as long as it was when it was listed.
    """
    sent = 0
    for member in all_members:
        header = _header(member)
        yield header
        length = 0
        for chunk in _chunks(member.source):
            length += len(chunk)
            if length > member.size:
                break
            yield chunk
        if length != member.size:
            raise click.ClickException(f"{member.source!s} changed while it was being sent")
        yield bytes(_padded(member.size) - member.size)
        sent += len(header) + _padded(member.size)
    yield bytes(tar_size(all_members) - sent)


def _header(member: Member) -> bytes:
    entry = tarfile.TarInfo(member.name)
    entry.size = member.size
    entry.mode = 0o644
    return entry.tobuf(format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape")


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _digests(member: Member, noted: Noted) -> dict[str, str]:
    hashes = {name: hashlib.new(name) for name in ALGORITHMS}
    for chunk in _chunks(member.source):
        for digest in hashes.values():
            digest.update(chunk)
        noted(len(chunk))
    return {name: digest.hexdigest() for name, digest in hashes.items()}


def _manifest(digests: dict[str, dict[str, str]], algorithm: str, base: str) -> bytes:
    """Lines of `digest  path`; CR, LF and % in a path are percent-encoded (RFC 8493 2.1.3)."""
    lines = []
    for name, values in digests.items():
        path = name.removeprefix(base).replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")
        lines.append(f"{values[algorithm]}  {path}\n")
    return "".join(lines).encode()
