"""Uploads in parts of the store in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from perdura.errors import NotStored
from perdura.storage.store import ObjectInfo, ObjectRef
from perdura.storage.uploads import Part, Upload

if TYPE_CHECKING:
    from perdura.storage.memory import MemoryStore


class MemoryUploads:
    """`Uploads` in memory; `take` stands for the `PUT` to a presigned URL."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._parts: dict[str, dict[int, bytes]] = {}
        self._numbers = count(1)

    def begin(self, bucket: str, key: str) -> Upload:
        """Begin an upload."""
        upload = Upload(bucket, key, f"upload-{next(self._numbers)}")
        self._parts[upload.id] = {}
        return upload

    def presigned(self, upload: Upload, number: int, seconds: int) -> str:
        """A URL of that shape; nothing answers it."""
        return f"memory://{upload.bucket}/{upload.key}?uploadId={upload.id}&partNumber={number}&seconds={seconds}"

    def take(self, upload: Upload, number: int, data: bytes) -> None:
        """Receive a part; raises NotStored for an upload that is over."""
        self._of(upload)[number] = data

    def put_part(self, upload: Upload, number: int, data: bytes | bytearray) -> None:
        """Receive a part."""
        self.take(upload, number, bytes(data))

    def copy_part(self, upload: Upload, number: int, source: ObjectRef, offset: int, length: int) -> None:
        """Take a part from another object; raises ObjectChanged, NotStored."""
        self.take(upload, number, self._store.read(source, offset, length))

    def parts(self, upload: Upload) -> Sequence[Part]:
        """The parts that have arrived, by number."""
        return [
            Part(number, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest())
            for number, data in sorted(self._of(upload).items())
        ]

    def complete(self, upload: Upload, parts: Sequence[Part]) -> ObjectInfo:
        """Make the object of these parts."""
        there = self._of(upload)
        data = b"".join(there[part.number] for part in parts)
        del self._parts[upload.id]
        return self._store.put(upload.bucket, upload.key, data).info

    def abort(self, upload: Upload) -> None:
        """Give an upload up."""
        self._parts.pop(upload.id, None)

    def _of(self, upload: Upload) -> dict[int, bytes]:
        try:
            return self._parts[upload.id]
        except KeyError:
            raise NotStored("there is no such upload in the store") from None
