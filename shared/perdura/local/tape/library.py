"""The library itself: a disk buffer, tapes, and drives that mount, seek and stream between the two.

Life of a file: written to disk → queued → on tape (`DISK_AND_TAPE`) → evicted when its time on disk is over, when
the buffer is needed or when it is released (`TAPE`) → staged on request. The files are real: `disk/` holds what can
be read at once, `tape/<volume>/<sequence>` what was written to tape.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from perdura.local.tape.catalogue import Catalogue, Entry
from perdura.local.tape.faults import Faults
from perdura.local.tape.scheduler import Scheduler

log = logging.getLogger(__name__)
CHUNK = 1 << 20
MISSING = "USER ERROR: file does not exist or is not accessible to you"


class Exists(Exception):
    """There is a file of that path already, and it may not be replaced."""


class BufferFull(Exception):
    """The disk buffer has no room."""


class BadSize(Exception):
    """The tape system takes no file of that size (0 bytes, or above its maximum)."""


class WriteFailure(Exception):
    """Writing to the disk buffer failed."""


@dataclass(frozen=True, slots=True)
class Model:
    """How the library behaves. Times in seconds, sizes in bytes; `rate` 0 means as fast as the disk."""

    drives: int = 2
    mount: float = 0.08
    seek: float = 0.02
    rate: float = 400e6
    volume: int = 18 * 10**12
    buffer: int = 100 * 10**9
    largest: int = 10**12
    keep: float = 2.0
    """Time on disk after a file was written to tape."""


@dataclass(slots=True)
class Drive:
    """One drive: the volume in it and what it does."""

    name: str
    volume: str | None = None
    working: str | None = None
    mounts: int = 0
    bytes: int = 0


class Library:
    """A tape library below one directory; its state survives restarts."""

    def __init__(self, root: Path, model: Model, faults: Faults, scheduler: Scheduler) -> None:
        self.model, self.faults, self.scheduler = model, faults, scheduler
        self.disk, self.tapes = root / "disk", root / "tape"
        for directory in (root, self.disk, self.tapes):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.catalogue = Catalogue(root / "catalogue.sqlite")
        for stray in {p.name for p in self.disk.iterdir()} - self.catalogue.blobs():
            (self.disk / stray).unlink()
        self.listeners: list[Callable[[], None]] = []
        self.drives = [Drive(f"drive{n + 1}") for n in range(model.drives)]
        self._condition = threading.Condition()
        self._archives: list[str] = [entry.path for entry in self.catalogue.to_archive()]
        self._recalls: list[str] = list(dict.fromkeys(file.path for file in self.catalogue.open_stages()))
        self._stopped = False
        self._threads = [threading.Thread(target=self._operate, args=(d,), daemon=True) for d in self.drives]
        for thread in self._threads:
            thread.start()
        self.scheduler.after(self.model.keep, self._evict_idle)

    def stop(self) -> None:
        """Finish the file each drive is at, then stop."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join()
        self.catalogue.close()

    def locality(self, path: str) -> tuple[str | None, str | None]:
        """Tape REST locality of a path and the error that goes with it (one of them may be None)."""
        entry = self.catalogue.entry(path)
        if entry is None or entry.directory:
            return None, MISSING
        if self.faults.apply("lost", path):
            return "LOST", None
        if self.faults.apply("unavailable", path):
            return "UNAVAILABLE", None
        name = {(True, False): "DISK", (False, True): "TAPE", (True, True): "DISK_AND_TAPE"}.get(
            (entry.on_disk, entry.on_tape), "NONE"
        )
        return name, entry.error

    def writer(self, path: str, size: int | None, overwrite: bool = True) -> Writer:
        """Write a file to the disk buffer; raises Exists or BufferFull. It becomes visible when finished."""
        entry = self.catalogue.entry(path)
        if entry is not None and (entry.directory or entry.on_tape or not overwrite):
            raise Exists
        if size is not None and self._make_room(size) < size:
            raise BufferFull
        return Writer(self, path)

    def written(self, path: str, size: int, adler32: str, blob: str) -> None:
        """Take over a file that a writer finished and queue it for tape."""
        before = self.catalogue.entry(path)
        self.catalogue.add_directories(path.rsplit("/", 1)[0])
        self.catalogue.add_file(path, size, adler32, blob)
        if before is not None and before.blob:
            (self.disk / before.blob).unlink(missing_ok=True)
        with self._condition:
            self._archives.append(path)
            self._condition.notify()

    def delete(self, path: str) -> None:
        """Remove a file from disk and tape."""
        entry = self.catalogue.entry(path)
        self.catalogue.remove(path)
        if entry is not None and entry.blob:
            (self.disk / entry.blob).unlink(missing_ok=True)
        if entry is not None and entry.volume:
            self.tape_file(entry.volume, entry.sequence or 0).unlink(missing_ok=True)

    def tape_file(self, volume: str, sequence: int) -> Path:
        """Where a file lies on tape."""
        return self.tapes / volume / f"{sequence:09d}"

    def stage(self, files: Sequence[tuple[str, float]]) -> str:
        """Ask for files on disk, each for so many seconds; gives back the request's id."""
        request = self.catalogue.add_stage(files)
        for path, lifetime in dict(files).items():
            entry = self.catalogue.entry(path)
            fault = self.faults.apply("stage-error", path)
            if fault is not None:
                self.catalogue.stage_state(path, "FAILED", str(fault.get("text", "drive failure")), request)
            elif entry is None or entry.directory:
                self.catalogue.stage_state(path, "FAILED", MISSING, request)
            elif not entry.on_tape:
                self.catalogue.stage_state(path, "FAILED", "USER ERROR: file is not stored on tape", request)
            elif entry.on_disk:
                self.catalogue.keep(path, max(entry.keep_until, time.time() + lifetime))
                self.catalogue.stage_state(path, "COMPLETED", None, request)
            else:
                with self._condition:
                    if path not in self._recalls:
                        self._recalls.append(path)
                    self._condition.notify()
        self._tell()
        return request

    def release(self, paths: Sequence[str]) -> None:
        """End the time on disk of files."""
        for path in paths:
            self.catalogue.keep(path, 0)
        self._evict_due()

    def status(self) -> dict[str, object]:
        """Drives, queues, volumes and residency, for people."""
        with self._condition:
            queues = {"archive": len(self._archives), "recall": len(self._recalls)}
        return {
            "drives": [
                {"name": d.name, "volume": d.volume, "working": d.working, "mounts": d.mounts, "bytes": d.bytes}
                for d in self.drives
            ],
            "queue": queues,
            "volumes": [{"name": n, "bytes": used, "files": files} for n, used, files in self.catalogue.volumes()],
            "residency": self.catalogue.residency(),
            "buffer": {"used": self.catalogue.disk_bytes(), "size": self.model.buffer},
        }

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def _next(self, drive: Drive) -> tuple[str, Entry, str] | None:
        """The next task of a drive (kind, file, volume), its mounted volume first; None when nothing can be done."""
        busy = {d.volume for d in self.drives if d is not drive and d.volume and d.working}
        recalls = [(p, e) for p in self._recalls if (e := self.catalogue.entry(p)) and e.volume not in busy]
        if recalls:
            mounted = [(p, e) for p, e in recalls if e.volume == drive.volume]
            path, entry = min(mounted or recalls[:1], key=lambda item: item[1].sequence or 0)
            self._recalls.remove(path)
            return "recall", entry, str(entry.volume)
        while self._archives:
            candidate = self.catalogue.entry(self._archives.pop(0))
            if candidate is not None and candidate.blob and not candidate.on_tape:
                volume = self.catalogue.volume_for(
                    candidate.size, self.model.volume, {v for v in busy if v}, drive.volume
                )
                return "archive", candidate, volume
        return None

    def _operate(self, drive: Drive) -> None:
        while True:
            with self._condition:
                while not self._stopped and (task := self._next(drive)) is None:
                    self._condition.wait()
                if self._stopped:
                    return
                kind, entry, volume = task  # type: ignore[misc]
                mount = drive.volume != volume
                for other in self.drives:
                    if other is not drive and other.volume == volume:
                        other.volume = None
                drive.volume, drive.working = volume, entry.path
                drive.mounts += mount
            try:
                time.sleep(self.model.seek + (self.model.mount if mount else 0))
                (self._archive if kind == "archive" else self._recall)(drive, entry, volume)
            except OSError:
                log.exception("%s failed on %s", kind, entry.path)
                if kind == "archive":
                    self.catalogue.archive_failed(entry.path, "the drive failed")
                else:
                    self.catalogue.stage_state(entry.path, "FAILED", "the drive failed")
            with self._condition:
                drive.working = None
                self._condition.notify_all()
            self._tell()

    def _archive(self, drive: Drive, entry: Entry, volume: str) -> None:
        if self.faults.apply("never-archived", entry.path):
            return
        if fault := self.faults.apply("archive-error", entry.path):
            self.catalogue.archive_failed(entry.path, str(fault.get("text", "no more tapes in the pool")))
            return
        sequence = self.catalogue.next_sequence(volume, entry.size)
        target = self.tape_file(volume, sequence)
        target.parent.mkdir(exist_ok=True, mode=0o700)
        found = self._stream(drive, self.disk / str(entry.blob), target)
        if found != entry.adler32:
            target.unlink()
            self.catalogue.archive_failed(entry.path, f"checksum on the way to tape is {found}, not {entry.adler32}")
            return
        for folder in (target.parent, self.tapes):
            _written_down(folder)
        with self.catalogue.lock:
            current = self.catalogue.entry(entry.path)
            if current is None or current.blob != entry.blob:
                target.unlink()
                return
            self.catalogue.archived(entry.path, volume, sequence, time.time() + self.model.keep)
        self.scheduler.after(self.model.keep, self._evict_due)

    def _recall(self, drive: Drive, entry: Entry, volume: str) -> None:
        self.catalogue.stage_state(entry.path, "STARTED")
        self._make_room(entry.size)
        blob = uuid.uuid4().hex
        try:
            found = self._stream(drive, self.tape_file(volume, entry.sequence or 0), self.disk / blob)
        except FileNotFoundError:
            self.catalogue.stage_state(entry.path, "FAILED", "the file is lost on tape")
            return
        if found != entry.adler32:
            (self.disk / blob).unlink()
            self.catalogue.stage_state(entry.path, "FAILED", f"checksum on tape is {found}, not {entry.adler32}")
            return
        lifetime = max((f.lifetime for f in self.catalogue.open_stages(entry.path)), default=0.0)
        self.catalogue.staged(entry.path, blob, time.time() + lifetime)
        self.catalogue.stage_state(entry.path, "COMPLETED")
        self.scheduler.after(lifetime, self._evict_due)

    def _stream(self, drive: Drive, source: Path, target: Path) -> str:
        """Copy at the drive's rate and give back the ADLER32 of what passed; the copy is on disk when done."""
        checksum, began, done = 1, time.monotonic(), 0
        with source.open("rb") as reader, target.open("wb") as writer:
            while data := reader.read(CHUNK):
                checksum = zlib.adler32(data, checksum)
                writer.write(data)
                done += len(data)
                drive.bytes += len(data)
                late = began + done / self.model.rate - time.monotonic() if self.model.rate else 0
                if late > 0:
                    time.sleep(late)
            writer.flush()
            os.fsync(writer.fileno())
        return f"{checksum:08x}"

    def _evict_due(self) -> None:
        now = time.time()
        for entry in self.catalogue.evictable():
            if entry.keep_until > now:
                break
            self._evict(entry)

    def _evict_idle(self) -> None:
        """Evict what was due while the library was off, and arrange for what is due later."""
        self._evict_due()
        for entry in self.catalogue.evictable():
            self.scheduler.after(max(0.0, entry.keep_until - time.time()), self._evict_due)

    def _evict(self, entry: Entry) -> None:
        self.catalogue.evicted(entry.path)
        (self.disk / str(entry.blob)).unlink(missing_ok=True)

    def _make_room(self, size: int) -> int:
        """Evict files on tape whose time is not over, if that is what it takes; gives back the free bytes."""
        free = self.model.buffer - self.catalogue.disk_bytes()
        for entry in self.catalogue.evictable() if free < size else ():
            self._evict(entry)
            free += entry.size
            if free >= size:
                break
        return free


def _written_down(folder: Path) -> None:
    """Let the names in a folder outlast a power cut."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


class Writer:
    """One file on its way into the disk buffer; leaving the context without `finish` leaves nothing behind."""

    def __init__(self, library: Library, path: str) -> None:
        self._library, self._path, self._blob = library, path, uuid.uuid4().hex
        self._file = (library.disk / self._blob).open("xb")
        self._checksum = 1
        self.size = 0
        self._finished = False

    def write(self, data: bytes) -> None:
        """Append bytes; raises WriteFailure."""
        if self._library.faults.apply("write-failure", self._path):
            raise WriteFailure("No space left on device")
        if self.size == 0 and self._library.faults.apply("corrupt", self._path):
            data = bytes([data[0] ^ 0xFF]) + data[1:]
        self._checksum = zlib.adler32(data, self._checksum)
        self._file.write(data)
        self.size += len(data)

    def finish(self) -> str:
        """Make the file visible and queue it for tape; gives back its ADLER32; raises BadSize."""
        if not 0 < self.size <= self._library.model.largest:
            raise BadSize(f"a file of {self.size} bytes cannot be archived")
        self._file.close()
        self._finished = True
        adler32 = f"{self._checksum:08x}"
        self._library.written(self._path, self.size, adler32, self._blob)
        return adler32

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._finished:
            self._file.close()
            (self._library.disk / self._blob).unlink(missing_ok=True)
