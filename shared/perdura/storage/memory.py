"""A store in memory: the fake for everything above storage, under the same contract tests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from perdura.errors import Broken, NotStored, ObjectChanged
from perdura.storage.digests import Digests
from perdura.storage.memory_uploads import MemoryUploads
from perdura.storage.store import NOTHING, ObjectInfo, ObjectRef, Writer, Written


@dataclass(frozen=True, slots=True)
class _Version:
    version_id: str
    data: bytes
    etag: str
    modified: datetime
    metadata: Mapping[str, str]
    retain_until: datetime | None
    content_type: str


class MemoryStore:
    """`Store` in memory; every bucket exists and keeps all versions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[tuple[str, str], list[_Version]] = {}
        self._counter = 0
        self._uploads = MemoryUploads(self)

    @property
    def uploads(self) -> MemoryUploads:
        """Uploads in parts."""
        return self._uploads

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectInfo:
        """What is stored there; raises NotStored."""
        return _info(bucket, key, self._find(ObjectRef(bucket, key, version_id)))

    def list(self, bucket: str, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects below a prefix in the order of their keys' UTF-8 bytes."""
        with self._lock:
            entries = sorted(
                (key.encode(), key, versions[-1])
                for (where, key), versions in self._objects.items()
                if where == bucket and key.startswith(prefix) and key > start_after
            )
        for _, key, version in entries:
            info = _info(bucket, key, version)
            yield ObjectInfo(ObjectRef(bucket, key, etag=version.etag), info.size, info.modified)

    def read(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a range; raises NotStored, ObjectChanged."""
        data = self._find(ref).data
        return data[offset:] if length is None else data[offset : offset + max(length, 0)]

    def stream(
        self, ref: ObjectRef, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[memoryview]:
        """Bytes of a range as chunks; raises NotStored, ObjectChanged."""
        data = memoryview(self.read(ref, offset, length))
        for start in range(0, len(data), chunk):
            yield data[start : start + chunk]

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from that offset on; raises NotStored, ObjectChanged."""
        data = self.read(ref, offset, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] = NOTHING,
        retain_until: datetime | None = None,
    ) -> Written:
        """Store a small object."""
        sha256 = hashlib.sha256(data).hexdigest()
        marked = {"sha256": sha256, **metadata}
        return Written(self._store(bucket, key, data, content_type, marked, retain_until), {"sha256": sha256})

    def writer(
        self,
        bucket: str,
        key: str,
        *,
        size: int | None = None,
        algorithms: tuple[str, ...] = ("sha256",),
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] = NOTHING,
        retain_until: datetime | None = None,
    ) -> Writer:
        """Write an object as a stream."""

        def store(data: bytes) -> ObjectInfo:
            return self._store(bucket, key, data, content_type, metadata, retain_until)

        return _MemoryWriter(store, size, algorithms)

    def copy(self, ref: ObjectRef, bucket: str, key: str, size: int) -> ObjectInfo:
        """Copy, pinned to `ref`; raises NotStored, ObjectChanged."""
        version = self._find(ref)
        if len(version.data) != size:
            raise ObjectChanged("the object has another size than the one to be copied")
        return self._store(bucket, key, version.data, version.content_type, version.metadata, None)

    def retain(self, ref: ObjectRef, until: datetime) -> bool:
        """Lock one version; raises NotStored."""
        version = self._find(ref)
        locked = replace(version, retain_until=max(until, version.retain_until or until))
        with self._lock:
            versions = self._objects[ref.bucket, ref.key]
            versions[versions.index(version)] = locked
        return True

    def delete(self, ref: ObjectRef) -> None:
        """Remove one version, or the object with all of them; raises Broken for what is locked."""
        with self._lock:
            versions = self._objects.get((ref.bucket, ref.key), [])
            going = [v for v in versions if ref.version_id in (None, v.version_id)]
            if any(v.retain_until and v.retain_until > datetime.now(UTC) for v in going):
                raise Broken("the object is locked", code="store-denied")
            left = [v for v in versions if v not in going]
            if left:
                self._objects[ref.bucket, ref.key] = left
            else:
                self._objects.pop((ref.bucket, ref.key), None)

    def presigned_get(self, ref: ObjectRef, seconds: int, *, filename: str | None = None) -> str:
        """A URL of that shape; nothing answers it."""
        self._find(ref)
        return f"memory://{ref.bucket}/{ref.key}?seconds={seconds}" + (f"&filename={filename}" if filename else "")

    def presigned_put(
        self, bucket: str, key: str, seconds: int, *, public: bool = True, content_type: str | None = None
    ) -> str:
        """A URL of that shape; nothing answers it."""
        kind = f"&type={content_type}" if content_type else ""
        return f"memory://{bucket}/{key}?seconds={seconds}&public={int(public)}{kind}"

    def _find(self, ref: ObjectRef) -> _Version:
        with self._lock:
            versions = list(self._objects.get((ref.bucket, ref.key), ()))
        if ref.version_id is not None:
            versions = [version for version in versions if version.version_id == ref.version_id]
        if not versions:
            raise NotStored("there is no such object in the store")
        if ref.etag is not None and ref.etag.strip('"') != versions[-1].etag:
            raise ObjectChanged("the object was replaced while it was being used")
        return versions[-1]

    def _store(
        self,
        bucket: str,
        key: str,
        data: bytes,
        content_type: str,
        metadata: Mapping[str, str],
        retain_until: datetime | None,
    ) -> ObjectInfo:
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        with self._lock:
            self._counter += 1
            version = _Version(
                f"v{self._counter:08d}", data, etag, datetime.now(UTC), dict(metadata), retain_until, content_type
            )
            self._objects.setdefault((bucket, key), []).append(version)
        return _info(bucket, key, version)


def _info(bucket: str, key: str, version: _Version) -> ObjectInfo:
    ref = ObjectRef(bucket, key, version.version_id, version.etag)
    return ObjectInfo(ref, len(version.data), version.modified, version.metadata)


class _MemoryWriter:
    def __init__(self, store: Callable[[bytes], ObjectInfo], size: int | None, algorithms: tuple[str, ...]) -> None:
        self._store = store
        self._size = size
        self._digests = Digests(algorithms)
        self._data = bytearray()
        self._over = False

    @property
    def position(self) -> int:
        return len(self._data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._over:
            raise Broken("this object is already finished or given up", code="writer-closed")
        self._digests.update(data)
        self._data += data

    def finish(self) -> Written:
        self._over = True
        if self._size is not None and self._size != len(self._data):
            raise Broken("another number of bytes was written than announced", code="size-mismatch")
        return Written(self._store(bytes(self._data)), self._digests.hexdigests())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
