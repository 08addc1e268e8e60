"""As much of a Store as harvest needs, over a directory: the step is measured, not the object store."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from perdura.errors import NotStored
from perdura.storage.store import ObjectInfo, ObjectRef, Written
from perdura.storage.uploads import Part, Upload

PIECE = 1 << 18
"""Bytes written at once: for longer writes Linux looks for large folios, at a fifth of the speed on a full machine."""


class DirectoryStore:
    """Objects are files; a key's folders are folders."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: set[str] = set()
        self._uploads = _Uploads(root)

    @property
    def uploads(self) -> _Uploads:
        """Uploads in parts."""
        return self._uploads

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(name)

    def list(self, bucket: str, prefix: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """All objects below a prefix that ends in `/`."""
        folder = self._root / bucket / prefix
        for path in sorted(folder.rglob("*")):
            if path.is_file() and str(path) > start_after:
                yield ObjectInfo(ObjectRef(bucket, str(path.relative_to(self._root / bucket))), path.stat().st_size)

    def read(self, ref: ObjectRef, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a range; raises NotStored."""
        try:
            data = (self._root / ref.bucket / ref.key).read_bytes()
        except FileNotFoundError as error:
            raise NotStored(ref.key) from error
        return data[offset:] if length is None else data[offset : offset + length]

    def put(self, bucket: str, key: str, data: bytes, **_: object) -> Written:
        """Store an object whole."""
        path = f"{self._root}/{bucket}/{key}"
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            _write(descriptor, data, 0)
        finally:
            os.close(descriptor)
        return Written(ObjectInfo(ObjectRef(bucket, key), len(data)), {})

    def writer(self, bucket: str, key: str, **_: object) -> _Writer:
        """Write an object as a stream."""
        return _Writer(self._root / bucket / key, ObjectRef(bucket, key))


class _Uploads:
    """Uploads whose parts, all of one size but the last, are written where they belong in the file to be."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._length = 0
        self._lock = threading.Lock()
        self._parts: dict[tuple[str, str, int], Part] = {}

    def begin(self, bucket: str, key: str) -> Upload:
        """Begin an upload."""
        path = self._root / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + ".part").touch()
        return Upload(bucket, key, path.name)

    def put_part(self, upload: Upload, number: int, data: bytes | bytearray) -> None:
        """Write one part."""
        if number == 1:
            self._length = len(data)
        path = self._root / upload.bucket / upload.key
        descriptor = os.open(path.with_name(path.name + ".part"), os.O_WRONLY)
        try:
            _write(descriptor, data, (number - 1) * (self._length or len(data)))
        finally:
            os.close(descriptor)
        with self._lock:
            self._parts[(upload.bucket, upload.key, number)] = Part(number, len(data), str(number))

    def parts(self, upload: Upload) -> Sequence[Part]:
        """The parts that have arrived, by number."""
        there = [part for (*place, _), part in self._parts.items() if place == [upload.bucket, upload.key]]
        return sorted(there, key=lambda part: part.number)

    def complete(self, upload: Upload, parts: Sequence[Part]) -> ObjectInfo:
        """Make the object."""
        path = self._root / upload.bucket / upload.key
        os.replace(path.with_name(path.name + ".part"), path)
        return ObjectInfo(ObjectRef(upload.bucket, upload.key), sum(part.size for part in parts))


def _write(descriptor: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    for start in range(0, len(view), PIECE):
        os.pwrite(descriptor, view[start : start + PIECE], offset + start)


class _Writer:
    def __init__(self, path: Path, ref: ObjectRef) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._ref = path, ref
        self._part = path.with_name(path.name + ".part")
        self._file = self._part.open("wb")
        self.position = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._file.write(data)
        self.position += len(data)

    def finish(self) -> Written:
        self._file.close()
        os.replace(self._part, self._path)
        return Written(ObjectInfo(self._ref, self.position), {})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)
