"""The interface of object storage and the values it speaks in; `s3.py` is its adapter for any S3 server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from perdura.storage.uploads import Uploads

NOTHING: Mapping[str, str] = MappingProxyType({})

PROBES = ".perdura-probe/"
"""Keys of objects by which it is found out what the store can do; they are nobody's package."""


def is_package_key(key: str) -> bool:
    """Whether an object of that key in the drop zone is a package: no directory marker and no probe of ours."""
    return not key.endswith("/") and not key.startswith(PROBES)


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One state of one object: reads through a reference that names `etag` or `version_id` are pinned to it.

    A pinned read of an object that was replaced raises `ObjectChanged` (packages.md C8).
    """

    bucket: str
    key: str
    version_id: str | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What the store says of an object; `size` in bytes. Digests are never taken from here (packages.md 3.3)."""

    ref: ObjectRef
    size: int
    modified: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """An object just written, and what was counted and hashed on the way: algorithm -> lower-case hex."""

    info: ObjectInfo
    checksums: Mapping[str, str]


class Writer(Protocol):
    """Writes one object as a stream. Leaving the context without `finish()` aborts: nothing becomes visible."""

    @property
    def position(self) -> int:
        """Bytes written so far."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        ...

    def finish(self) -> Written:
        """Complete the object and say what it is; raises StoreUnavailable or StoreFull."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """Object storage. Every method raises StoreUnavailable when the store does not answer as it should."""

    @property
    def uploads(self) -> Uploads:
        """Uploads in parts that outlive this process."""
        ...

    def head(self, bucket: str, key: str, version_id: str | None = None) -> ObjectInfo:
        """What is stored there, with `ref` pinned; raises NotStored."""
        ...

    def list(self, bucket: str, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects below a prefix, by key, each `ref` pinned by ETag; pages are fetched as needed."""
        ...

    def read(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a range (small ones: everything is returned at once); raises NotStored, ObjectChanged."""
        ...

    def stream(
        self, ref: ObjectRef, offset: int = 0, length: int | None = None, chunk: int = 1 << 20
    ) -> Iterator[memoryview]:
        """Bytes of a range as chunks. A chunk is valid until the next one is asked for; a broken connection is
        resumed at the byte where it broke; raises NotStored, ObjectChanged."""
        ...

    def read_into(self, ref: ObjectRef, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from that offset on; gives how many bytes there were (fewer only at the object's end)."""
        ...

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
        """Store a small object; sha256 is computed, kept as its metadata and returned.

        `retain_until` locks this version until then, in a bucket with Object Lock.
        """
        ...

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
        """Write a large object as a stream (multipart; part size chosen from `size` when known).

        `finish()` of another number of bytes than `size` raises Broken and stores nothing.
        """
        ...

    def copy(self, ref: ObjectRef, bucket: str, key: str, size: int) -> ObjectInfo:
        """Copy inside the store, pinned to `ref`; in parts what is large."""
        ...

    def retain(self, ref: ObjectRef, until: datetime) -> bool:
        """Have the store refuse to delete this version until then or longer; False where it keeps no locks."""
        ...

    def delete(self, ref: ObjectRef) -> None:
        """Remove one object or version. Only a person's approved request leads here."""
        ...

    def presigned_get(self, ref: ObjectRef, seconds: int, *, filename: str | None = None) -> str:
        """A URL that reads the object, for so many seconds."""
        ...

    def presigned_put(
        self, bucket: str, key: str, seconds: int, *, public: bool = True, content_type: str | None = None
    ) -> str:
        """A URL that writes the object, for so many seconds; `public` uses the endpoint depositors reach.

        With `content_type` it takes bytes that are sent as that alone.
        """
        ...
