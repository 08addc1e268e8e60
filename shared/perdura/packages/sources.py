"""Packages on disk and in the object store, each read through one of the two interfaces of `source.py`."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from perdura.errors import NotStored, ObjectChanged, Rejected, StoreUnavailable
from perdura.packages.rules import PackageRejected
from perdura.packages.source import Leaf
from perdura.storage.store import ObjectRef

if TYPE_CHECKING:
    from perdura.storage.store import Store

_CHUNK = 1 << 20


class LocalFile:
    """An archive on disk. Reads are pinned to the file as it was when opened: a change raises ObjectChanged."""

    def __init__(self, path: Path | str) -> None:
        """Raises NotStored when there is no such file, Rejected when it is no regular file."""
        self._path = Path(path)
        self._handle = _open(self._path)
        try:
            self._state = _state(self._handle)
        except BaseException:
            os.close(self._handle)
            raise

    @property
    def name(self) -> str:
        """File name, for messages."""
        return self._path.name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._state[0]

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end."""
        data = bytearray(max(min(length, self.size - offset), 0))
        return bytes(data[: self.read_into(offset, memoryview(data))])

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset on."""
        got = _fill(self._handle, offset, buffer)
        if _state(self._handle) != self._state:
            raise ObjectChanged("the file was changed while it was being read")
        return got

    def stream(self, offset: int, length: int, chunk: int = _CHUNK) -> Iterator[memoryview]:
        """These bytes in chunks, each valid until the next is asked for."""
        buffer = memoryview(bytearray(min(chunk, max(length, 0))))
        end = offset + length
        while offset < end:
            got = self.read_into(offset, buffer[: min(len(buffer), end - offset)])
            if got == 0:
                return
            offset += got
            yield buffer[:got]

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalTree:
    """A directory on disk. Links and special files in it are refused, never followed."""

    container = "directory"

    def __init__(self, path: Path | str) -> None:
        """Raises NotStored when there is no such directory."""
        self._path = Path(path)
        self._below_it = f"{self._path}{os.sep}"
        if not os.path.isdir(path):
            raise NotStored(f"there is no directory {self._path.name!r}")

    @property
    def name(self) -> str:
        """Name of the directory, for messages."""
        return self._path.resolve().name

    def leaves(self) -> Iterator[Leaf]:
        """All files and empty directories, by path; raises PackageRejected for links and special files."""
        # A stack of its own: a stranger decides how deep directories lie in one another.
        open_directories = [self._entries("")]
        while open_directories:
            path, size = next(open_directories[-1], (None, 0))
            if path is None:
                open_directories.pop()
            elif size is None:
                open_directories.append(self._entries(path))
            else:
                yield Leaf(path, size)

    def _entries(self, prefix: str) -> Iterator[tuple[str, int | None]]:
        """What is in one directory: paths with their sizes; of a directory, None, or 0 for the one that is empty."""
        try:
            with os.scandir(f"{self._below_it}{prefix}") as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            if not entries and prefix:
                yield prefix, 0
            for entry in entries:
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    yield path + "/", None
                    continue
                found = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(found.st_mode):
                    raise PackageRejected("member-type", path)
                yield path, found.st_size
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise PackageRejected("name-too-long", prefix) from error
            raise StoreUnavailable(f"a directory cannot be read: {error.strerror}") from error

    def read_into(self, path: str, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset of one file on."""
        handle = _open(self._below_it + path)
        try:
            # Beyond its end there is nothing to ask for: one call reads a small file.
            rest = max(_state(handle)[0] - offset, 0)
            return _fill(handle, offset, buffer[:rest])
        finally:
            os.close(handle)

    def stream(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
        """Bytes of one file in chunks, each valid until the next is asked for."""
        handle = _open(self._below_it + path)
        try:
            state = _state(handle)
            end = state[0] if length is None else min(offset + length, state[0])
            buffer = memoryview(bytearray(min(_CHUNK, max(end - offset, 0))))
            while offset < end:
                got = _fill(handle, offset, buffer[: min(len(buffer), end - offset)])
                offset += got
                yield buffer[:got]
                if got == 0 or _state(handle) != state:
                    raise ObjectChanged("a file was changed while it was being read")
        finally:
            os.close(handle)


class StoredObject:
    """An archive in the object store; `ref` should be pinned (by `Store.head`), `size` in bytes.

    `name` is what it was called before it got its key.
    """

    def __init__(self, store: Store, ref: ObjectRef, size: int, name: str | None = None) -> None:
        self._store = store
        self._ref = ref
        self._size = size
        self._name = ref.key.rpartition("/")[2] if name is None else name

    @property
    def ref(self) -> ObjectRef:
        """The object, in the state that is read."""
        return self._ref

    @property
    def name(self) -> str:
        """Its name, or the last component of the key."""
        return self._name

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, fewer only at the end."""
        return self._store.read(self._ref, offset, max(min(length, self._size - offset), 0))

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset on."""
        return self._store.read_into(self._ref, offset, buffer[: max(self._size - offset, 0)])

    def stream(self, offset: int, length: int, chunk: int = _CHUNK) -> Iterator[memoryview]:
        """These bytes in chunks, each valid until the next is asked for."""
        return self._store.stream(self._ref, offset, max(min(length, self._size - offset), 0), chunk)


class StoredPrefix:
    """All objects below a prefix of a bucket, pinned by ETag when listed."""

    container = "prefix"

    def __init__(self, store: Store, bucket: str, prefix: str) -> None:
        self._store = store
        self._bucket = bucket
        self._prefix = prefix if prefix.endswith("/") or not prefix else prefix + "/"
        self._refs: dict[str, ObjectRef] = {}
        self._pinned: list[Leaf] | None = None

    @property
    def pins(self) -> list[tuple[str, int, str | None]]:
        """What `leaves` found: path, size and ETag of each object."""
        sizes = {leaf.path: leaf.size for leaf in self._pinned or self.leaves()}
        return [(path, size, self._refs[path].etag) for path, size in sizes.items()]

    def pin(self, pins: Iterable[tuple[str, int, str | None]]) -> None:
        """Take what another process found for what is there; reading notices an object that was replaced since."""
        self._pinned = []
        for path, size, etag in pins:
            self._refs[path] = ObjectRef(self._bucket, self._prefix + path, etag=etag)
            self._pinned.append(Leaf(path, size))

    @property
    def name(self) -> str:
        """Last component of the prefix, for messages."""
        return self._prefix.rstrip("/").rpartition("/")[2]

    def leaves(self) -> Iterator[Leaf]:
        """All objects by key; raises StoreUnavailable."""
        if self._pinned is not None:
            yield from self._pinned
            return
        for info in self._store.list(self._bucket, self._prefix):
            path = info.ref.key[len(self._prefix) :]
            if path:
                self._refs[path] = info.ref
                yield Leaf(path, info.size)

    def read_into(self, path: str, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from that offset of one object on."""
        return self._store.read_into(self._refs[path], offset, buffer)

    def stream(self, path: str, offset: int = 0, length: int | None = None) -> Iterator[memoryview]:
        """Bytes of one object in chunks, each valid until the next is asked for."""
        return self._store.stream(self._refs[path], offset, length)


def bucket_and_key(url: str) -> tuple[str, str]:
    """Those of `s3://bucket/key`, as they are written: nothing in the name of an object has a meaning in a URL."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def _open(path: Path | str) -> int:
    """A descriptor of a regular file; a link is not followed and a FIFO does not block."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotStored(f"there is no file {_name(path)!r}") from None
    except OSError as error:
        raise StoreUnavailable(f"the file {_name(path)!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Rejected(f"{_name(path)!r} is not a regular file", code="not-a-file")
    return handle


def _name(path: Path | str) -> str:
    return os.path.basename(path)


def _state(handle: int) -> tuple[int, int, int]:
    found = os.fstat(handle)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _fill(handle: int, offset: int, buffer: memoryview) -> int:
    done = 0
    try:
        while done < len(buffer):
            got = os.preadv(handle, [buffer[done:]], offset + done)
            if got == 0:
                break
            done += got
    except OSError as error:
        raise StoreUnavailable(f"a file cannot be read: {error.strerror}") from error
    return done
