"""A copy of buckets in a folder: every object a file of its key, and a list with the digest of each."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from perdura.errors import Broken, Conflict, NotStored
from perdura.storage.store import ObjectInfo, ObjectRef, Store

LIST = "objects.jsonl"
_BY_DIGEST = ".by-digest"
_PART, _LOCK = ".part", ".lock"
"""What is being fetched, and who does it; no bucket may be called so."""
_LONGEST_NAME = 200
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class CopiedObject:
    """One line of the list."""

    bucket: str
    key: str
    size: int
    etag: str | None
    sha256: str
    file: str


def file_of(bucket: str, key: str) -> str:
    """Where in the folder an object lies: its key, percent-encoded; one too long for a file name by its digest."""
    names = [quote(name, safe=" ()[]+,;=@") for name in key.split("/")]
    if names[0] == _BY_DIGEST or any(name in ("", ".", "..") or len(name) > _LONGEST_NAME for name in names):
        return _by_digest(bucket, key)
    return "/".join((bucket, *names))


def _by_digest(bucket: str, key: str) -> str:
    return f"{bucket}/{_BY_DIGEST}/{hashlib.sha256(key.encode()).hexdigest()}"


def listed(folder: Path) -> list[CopiedObject]:
    """What a copy has; raises Broken where its list cannot be read."""
    try:
        with (folder / LIST).open(encoding="utf-8") as lines:
            return [CopiedObject(**json.loads(line)) for line in lines]
    except (OSError, ValueError, TypeError) as error:
        raise Broken(f"{folder / LIST} cannot be read as the list of a backup") from error


def copy_out(store: Store, buckets: Sequence[str], folder: Path, say: Callable[[str], object]) -> int:
    """Copy every object into the folder; one that is there already, unchanged, is not read again. Gives their number.

    The list is replaced last, so that it never names what is not there. Raises Conflict while another process copies
    into the folder, Broken where it cannot be written.
    """
    try:
        with _alone(folder):
            return _copied(store, buckets, folder, say)
    except OSError as error:
        raise Broken(f"{folder} cannot be written: {error.strerror}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from copying into the folder; the kernel gives the lock back when this one dies."""
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"Another backup is being written into {folder}") from None
        yield


def _copied(store: Store, buckets: Sequence[str], folder: Path, say: Callable[[str], object]) -> int:
    known = {(each.bucket, each.key): each for each in listed(folder)} if (folder / LIST).exists() else {}
    made = folder / f"{LIST}.new"
    number = 0
    with made.open("w", encoding="utf-8") as lines:
        for bucket in buckets:
            for info in store.list(bucket, ""):
                before = known.get((bucket, info.ref.key))
                there = before is not None and (before.etag, before.size) == (info.ref.etag, info.size)
                if before is None or not there or not (folder / before.file).is_file():
                    before = _fetch(store, info, folder)
                fields = {name: getattr(before, name) for name in CopiedObject.__dataclass_fields__}
                lines.write(json.dumps(fields, ensure_ascii=False) + "\n")
                number += 1
            say(f"{bucket} copied, {number} objects so far")
        lines.flush()
        os.fsync(lines.fileno())
    made.replace(folder / LIST)
    return number


def copy_in(store: Store, folder: Path, say: Callable[[str], object]) -> int:
    """Put every object of a copy back, verified against the list; one that is there already must be the same.

    Raises Broken where a file differs from the list, or an object of that key has another content.
    """
    number = 0
    for each in listed(folder):
        path = folder / each.file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise Broken(f"{each.file} lies outside the backup")
        if not _is_there(store, each):
            _store(store, each, path)
        number += 1
    say(f"{number} objects put back")
    return number


def _fetch(store: Store, info: ObjectInfo, folder: Path) -> CopiedObject:
    ref = info.ref
    part = folder / _PART
    digest = hashlib.sha256()
    with part.open("wb") as output:
        for chunk in store.stream(ref):
            digest.update(chunk)
            output.write(chunk)
        output.flush()
        os.fsync(output.fileno())
    file = _placed(part, folder, ref)
    return CopiedObject(ref.bucket, ref.key, info.size, ref.etag, digest.hexdigest(), file)


def _placed(part: Path, folder: Path, ref: ObjectRef) -> str:
    """Give what was fetched its place; where another key is in the way, as `a` is of `a/b`, the one by its digest."""
    file = file_of(ref.bucket, ref.key)
    try:
        _move(part, folder / file)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        file = _by_digest(ref.bucket, ref.key)
        _move(part, folder / file)
    return file


def _move(part: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part.replace(path)


def _is_there(store: Store, each: CopiedObject) -> bool:
    try:
        there = store.head(each.bucket, each.key)
    except NotStored:
        return False
    digest = hashlib.sha256()
    for chunk in store.stream(there.ref):
        digest.update(chunk)
    if digest.hexdigest() != each.sha256:
        raise Broken(f"{each.bucket}/{each.key} exists with another content: restore into an empty store")
    return True


def _store(store: Store, each: CopiedObject, path: Path) -> None:
    try:
        with store.writer(each.bucket, each.key, size=each.size) as writer:
            for chunk in _chunks(path):
                writer.write(chunk)
            written = writer.finish()
    except OSError as error:
        raise Broken(f"{each.file} cannot be read") from error
    if written.checksums["sha256"] != each.sha256:
        raise Broken(f"{each.file} is not what was backed up: its SHA-256 differs")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
