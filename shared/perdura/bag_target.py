"""Where `perdura bag make` writes: a tar or zip, on disk or in object storage, or a directory."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from perdura.errors import Conflict, NotStored, Rejected
from perdura.packages.make import ArchiveWriter, BagPlan, write_archive, write_directory
from perdura.packages.sources import bucket_and_key
from perdura.packages.tar import Sink, TarWriter
from perdura.packages.zip import ZipWriter

if TYPE_CHECKING:
    from perdura.packages.source import TreeSource

Write = Callable[[BagPlan, "TreeSource"], None]

_KINDS: dict[str, Callable[[Sink], ArchiveWriter]] = {".tar": TarWriter, ".zip": ZipWriter}
_COMPRESSED = frozenset({".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"})
_LINKLESS = frozenset({errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""What file systems say that know no second name of a file, as those of memory sticks do."""


def base_of(target: str) -> str:
    """The folder that holds the bag in an archive of that name; none where the target is a directory itself."""
    return Path(target).stem if Path(target).suffix.lower() in _KINDS else ""


def target_at(target: str) -> Write:
    """What writes a bag there; raises Conflict where something lies there already, Rejected for another form."""
    suffix = Path(target).suffix.lower()
    if target.startswith("s3://"):
        if suffix not in _KINDS:
            raise Rejected("in object storage a bag is written as .tar or .zip", code="unknown-target")
        return _in_store(target, _KINDS[suffix])
    if suffix in _COMPRESSED:
        raise Rejected(f"a bag is written as .tar, .zip or a directory, not as {suffix}", code="unknown-target")
    if os.path.lexists(target):
        raise Conflict(f"{target!r} is already there")
    if suffix in _KINDS:
        return lambda plan, source: _on_disk(plan, source, target, _KINDS[suffix])
    return lambda plan, source: write_directory(plan, source, Path(target))


def _in_store(target: str, kind: Callable[[Sink], ArchiveWriter]) -> Write:
    from perdura.packages.aip_check import read_back
    from perdura.settings import settings
    from perdura.storage.s3 import S3Store

    (bucket, key), store = bucket_and_key(target), S3Store(settings())

    def is_free() -> None:
        with suppress(NotStored):
            store.head(bucket, key)
            raise Conflict(f"{target!r} is already there")

    def write(plan: BagPlan, source: TreeSource) -> None:
        is_free()
        with store.writer(bucket, key, algorithms=("sha256", "sha512", "adler32")) as writer:
            write_archive(plan, source, kind(writer.write), base_of(target))
            written = writer.finish()
        read_back(store, written)

    is_free()
    return write


def _on_disk(plan: BagPlan, source: TreeSource, target: str, kind: Callable[[Sink], ArchiveWriter]) -> None:
    partial = Path(target + ".part")
    with partial.open("xb") as out:
        try:
            write_archive(plan, source, kind(out.write), base_of(target))
            out.flush()
            os.fsync(out.fileno())
            _give_name(partial, target)
        finally:
            partial.unlink(missing_ok=True)


def _give_name(partial: Path, target: str) -> None:
    """Give a file its name, which nobody else gave to another one meanwhile: a rename would replace that."""
    try:
        os.link(partial, target)
    except OSError as error:
        if error.errno not in _LINKLESS:
            raise
        Path(target).open("xb").close()
        partial.replace(target)
