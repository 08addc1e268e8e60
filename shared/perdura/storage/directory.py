"""A directory as a store, for commands and measurements that need none: buckets are folders, keys are paths in them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perdura.errors import Broken, NotStored, StoreUnavailable
from perdura.storage.digests import Digests
from perdura.storage.store import ObjectInfo, ObjectRef, Written


class DirectoryStore:
    """As much of a `Store` as a directory can be: no versions, no locks, no presigned addresses.

    `buckets` says where each bucket lies; any other lies in a folder of its name below `root`.
    """

    def __init__(self, root: Path, buckets: Mapping[str, Path] | None = None) -> None:
        self._root = root
        self._buckets = dict(buckets or {})

    def path(self, bucket: str, key: str) -> Path:
        """Where an object lies; raises Broken for a key that leaves its bucket."""
        if ".." in key.split("/") or key.startswith("/"):
            raise Broken("a key leaves its directory", code="path-escapes")
        return self._buckets.get(bucket, self._root / bucket) / key

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectInfo:  # noqa: ARG002
        """What is stored there; raises NotStored."""
        path = self.path(bucket, key)
        if not path.is_file():
            raise NotStored(f"there is no {bucket}/{key}")
        found = path.stat()
        etag = f"{found.st_mtime_ns:x}-{found.st_size:x}"
        return ObjectInfo(
            ObjectRef(bucket, key, None, etag), found.st_size, datetime.fromtimestamp(found.st_mtime, UTC)
        )

    def list(self, bucket: str, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects below a prefix, by key."""
        base = self.path(bucket, "")
        keys = sorted(str(path.relative_to(base)) for path in base.rglob("*") if path.is_file())
        return (self.head(bucket, key) for key in keys if key.startswith(prefix) and key > start_after)

    def read(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a range; raises NotStored."""
        return b"".join(self.stream(ref, offset, length))

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset on; gives the bytes there were."""
        self.head(ref.bucket, ref.key)
        with self.path(ref.bucket, ref.key).open("rb") as file:
            file.seek(offset)
            return file.readinto(buffer)

    def stream(
        self, ref: ObjectRef, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[memoryview]:
        """Bytes of a range in chunks; raises NotStored."""
        left = self.head(ref.bucket, ref.key).size - offset if length is None else length
        with self.path(ref.bucket, ref.key).open("rb") as file:
            file.seek(offset)
            while left > 0 and (data := file.read(min(chunk, left))):
                left -= len(data)
                yield memoryview(data)

    def put(self, bucket: str, key: str, data: bytes, **_: Any) -> Written:
        """Store an object whole."""
        with self.writer(bucket, key) as sink:
            sink.write(data)
            return sink.finish()

    def writer(self, bucket: str, key: str, *, algorithms: tuple[str, ...] = ("sha256",), **_: Any) -> _FileWriter:
        """Write an object as a stream; it is there only when `finish()` was called."""
        return _FileWriter(self, bucket, key, algorithms)

    def copy(self, ref: ObjectRef, bucket: str, key: str, size: int) -> ObjectInfo:  # noqa: ARG002
        """Copy an object."""
        target = self.path(bucket, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.path(ref.bucket, ref.key), target)
        return self.head(bucket, key)


class _FileWriter:
    def __init__(self, store: DirectoryStore, bucket: str, key: str, algorithms: tuple[str, ...]) -> None:
        self._place, self._store = (bucket, key), store
        self._digests = Digests(algorithms)
        self._path = store.path(bucket, key)
        self._unfinished = self._path.with_name(f"{self._path.name}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._unfinished.open("wb")
        except OSError as error:
            raise StoreUnavailable(f"{self._path.name} cannot be written: {error.strerror}") from error
        self.position = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._digests.update(data)
        self._file.write(data)
        self.position += len(data)

    def finish(self) -> Written:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.replace(self._path)
        return Written(self._store.head(*self._place), self._digests.hexdigests())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._unfinished.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
