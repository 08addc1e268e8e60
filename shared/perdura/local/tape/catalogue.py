"""What the tape library knows, in one SQLite file: the name space, the volumes and the stage requests."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    path TEXT PRIMARY KEY, directory INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL DEFAULT 0,
    adler32 TEXT NOT NULL DEFAULT '', modified REAL NOT NULL, blob TEXT, volume TEXT, sequence INTEGER,
    error TEXT, keep_until REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_to_archive ON entry (modified) WHERE volume IS NULL AND directory = 0;
CREATE INDEX IF NOT EXISTS entry_on_disk ON entry (keep_until) WHERE blob IS NOT NULL;
CREATE TABLE IF NOT EXISTS volume (
    name TEXT PRIMARY KEY, used INTEGER NOT NULL DEFAULT 0, files INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stage_request (
    id TEXT PRIMARY KEY, created REAL NOT NULL, started REAL, completed REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stage_file (
    request TEXT NOT NULL REFERENCES stage_request ON DELETE CASCADE, path TEXT NOT NULL, state TEXT NOT NULL,
    lifetime REAL NOT NULL, started REAL, finished REAL, error TEXT, PRIMARY KEY (request, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stage_file_open ON stage_file (path) WHERE state IN ('SUBMITTED', 'STARTED');
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory. `blob` names its copy on disk; `volume` and `sequence` its place on tape."""

    path: str
    directory: bool
    size: int
    adler32: str
    modified: float
    blob: str | None
    volume: str | None
    sequence: int | None
    error: str | None
    keep_until: float

    @property
    def on_disk(self) -> bool:
        """True when the file can be read at once."""
        return self.blob is not None

    @property
    def on_tape(self) -> bool:
        """True when the file has been written to tape."""
        return self.volume is not None


@dataclass(frozen=True, slots=True)
class StageFile:
    """One file of a stage request."""

    request: str
    path: str
    state: str
    lifetime: float
    started: float | None
    finished: float | None
    error: str | None


class Catalogue:
    """The only writer of the SQLite file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # What was told to be on tape may be the only copy: no power cut takes a commit back.
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        self._db.executescript(SCHEMA)
        self._db.execute("UPDATE stage_file SET state = 'SUBMITTED' WHERE state = 'STARTED'")

    def close(self) -> None:
        """Write everything down and let go of the file."""
        with self.lock:
            self._db.close()

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self.lock:
            return self._db.execute(sql, values).fetchall()

    def entry(self, path: str) -> Entry | None:
        """The file or directory of that path."""
        rows = self._rows("SELECT * FROM entry WHERE path = ?", (path,))
        return _entry(rows[0]) if rows else None

    def children(self, directory: str) -> list[Entry]:
        """What lies directly in a directory, by name."""
        prefix = directory.rstrip("/") + "/"
        rows = self._rows(
            "SELECT * FROM entry WHERE path >= ? AND path < ? AND instr(substr(path, ?), '/') = 0",
            (prefix, prefix[:-1] + "0", len(prefix) + 1),
        )
        return [_entry(row) for row in rows]

    def add_directories(self, path: str) -> None:
        """Make a directory and all above it."""
        parts = path.strip("/").split("/")
        with self.lock:
            self._db.executemany(
                "INSERT OR IGNORE INTO entry (path, directory, modified) VALUES (?, 1, ?)",
                [("/" + "/".join(parts[: n + 1]), time.time()) for n in range(len(parts))],
            )

    def add_file(self, path: str, size: int, adler32: str, blob: str) -> None:
        """Note a file that was just written to disk, in place of any other of that path."""
        with self.lock:
            self._db.execute(
                "INSERT OR REPLACE INTO entry (path, size, adler32, modified, blob) VALUES (?, ?, ?, ?, ?)",
                (path, size, adler32, time.time(), blob),
            )

    def remove(self, path: str) -> None:
        """Forget a file or directory."""
        self._rows("DELETE FROM entry WHERE path = ?", (path,))

    def archived(self, path: str, volume: str, sequence: int, keep_until: float) -> None:
        """Note that a file is on tape."""
        self._rows(
            "UPDATE entry SET volume = ?, sequence = ?, error = NULL, keep_until = ? WHERE path = ?",
            (volume, sequence, keep_until, path),
        )

    def archive_failed(self, path: str, error: str) -> None:
        """Note why a file will not reach tape."""
        self._rows("UPDATE entry SET error = ? WHERE path = ?", (error, path))

    def staged(self, path: str, blob: str, keep_until: float) -> None:
        """Note that a file is back on disk."""
        self._rows("UPDATE entry SET blob = ?, keep_until = ? WHERE path = ?", (blob, keep_until, path))

    def keep(self, path: str, until: float) -> None:
        """Keep a file on disk until then."""
        self._rows("UPDATE entry SET keep_until = ? WHERE path = ?", (until, path))

    def evicted(self, path: str) -> None:
        """Note that a file is on tape only."""
        self._rows("UPDATE entry SET blob = NULL WHERE path = ? AND volume IS NOT NULL", (path,))

    def to_archive(self) -> list[Entry]:
        """Files that are on disk only and shall go to tape, oldest first."""
        sql = "SELECT * FROM entry WHERE volume IS NULL AND directory = 0 AND error IS NULL ORDER BY modified"
        return [_entry(row) for row in self._rows(sql)]

    def evictable(self) -> list[Entry]:
        """Files that are on disk and on tape, those whose time is over first."""
        sql = "SELECT * FROM entry WHERE blob IS NOT NULL AND volume IS NOT NULL ORDER BY keep_until"
        return [_entry(row) for row in self._rows(sql)]

    def blobs(self) -> set[str]:
        """Names of all copies that should be in the disk buffer."""
        return {str(row[0]) for row in self._rows("SELECT blob FROM entry WHERE blob IS NOT NULL")}

    def disk_bytes(self) -> int:
        """Bytes in the disk buffer."""
        (row,) = self._rows("SELECT coalesce(sum(size), 0) FROM entry WHERE blob IS NOT NULL")
        return int(row[0])  # type: ignore[call-overload,no-any-return]

    def residency(self) -> dict[str, int]:
        """Number of files by locality."""
        rows = self._rows(
            "SELECT CASE WHEN blob IS NULL THEN 'TAPE' WHEN volume IS NULL THEN 'DISK' ELSE 'DISK_AND_TAPE' END, "
            "count(*) FROM entry WHERE directory = 0 GROUP BY 1"
        )
        return {str(name): int(count) for name, count in rows}  # type: ignore[call-overload]

    def volume_for(self, size: int, capacity: int, busy: Iterable[str], prefer: str | None) -> str:
        """A volume with room that no other drive holds, the one already mounted if possible; else a new one."""
        with self.lock:
            rows = self._rows("SELECT name, used FROM volume ORDER BY name")
            held = set(busy)
            free = [str(n) for n, used in rows if int(used) + size <= capacity and n not in held]  # type: ignore[call-overload]
            if free:
                return prefer if prefer is not None and prefer in free else free[0]
            name = f"V{len(rows) + 1:05d}"
            self._rows("INSERT INTO volume (name) VALUES (?)", (name,))
            return name

    def next_sequence(self, volume: str, size: int) -> int:
        """Take the next file position of a volume."""
        with self.lock:
            self._rows("UPDATE volume SET used = used + ?, files = files + 1 WHERE name = ?", (size, volume))
            return int(self._rows("SELECT files FROM volume WHERE name = ?", (volume,))[0][0])  # type: ignore[call-overload,no-any-return]

    def volumes(self) -> list[tuple[str, int, int]]:
        """Name, bytes and files of every volume."""
        rows = self._rows("SELECT name, used, files FROM volume ORDER BY name")
        return [(str(n), int(u), int(f)) for n, u, f in rows]  # type: ignore[call-overload]

    def add_stage(self, files: Sequence[tuple[str, float]]) -> str:
        """Note a stage request of (path, disk lifetime in seconds) and give back its id."""
        request = str(uuid.uuid4())
        with self.lock:
            self._rows("INSERT INTO stage_request (id, created) VALUES (?, ?)", (request, time.time()))
            self._db.executemany(
                "INSERT OR IGNORE INTO stage_file (request, path, state, lifetime) VALUES (?, ?, 'SUBMITTED', ?)",
                [(request, path, lifetime) for path, lifetime in files],
            )
        return request

    def stage_request(self, request: str) -> tuple[float, float | None, float | None] | None:
        """When a stage request was created, started and completed; None when it is unknown."""
        rows = self._rows("SELECT created, started, completed FROM stage_request WHERE id = ?", (request,))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None  # type: ignore[return-value]

    def stage_files(self, request: str) -> list[StageFile]:
        """The files of a stage request."""
        rows = self._rows("SELECT * FROM stage_file WHERE request = ?", (request,))
        return [StageFile(*row) for row in rows]  # type: ignore[arg-type]

    def open_stages(self, path: str | None = None) -> list[StageFile]:
        """Files still to be brought to disk: all, or those of one path."""
        sql = "SELECT * FROM stage_file WHERE state IN ('SUBMITTED', 'STARTED')"
        rows = self._rows(sql + (" AND path = ?" if path else ""), (path,) if path else ())
        return [StageFile(*row) for row in rows]  # type: ignore[arg-type]

    def stage_state(self, path: str, state: str, error: str | None = None, request: str | None = None) -> None:
        """Set the state of the open stage requests of a path (or of one request's)."""
        now = time.time()
        started, finished = (now, None) if state == "STARTED" else (None, now)
        with self.lock:
            rows = self._rows(
                "UPDATE stage_file SET state = ?, error = ?, started = coalesce(started, ?), finished = ? "
                "WHERE path = ? AND state IN ('SUBMITTED', 'STARTED') AND (? IS NULL OR request = ?) RETURNING request",
                (state, error, started, finished, path, request, request),
            )
            for (touched,) in rows:
                self._rows(
                    "UPDATE stage_request SET started = coalesce(started, ?), completed = CASE WHEN EXISTS (SELECT 1 "
                    "FROM stage_file WHERE request = id AND state IN ('SUBMITTED', 'STARTED')) THEN NULL ELSE ? END "
                    "WHERE id = ?",
                    (now, now, touched),
                )

    def forget_stage(self, request: str) -> bool:
        """Delete a stage request; False when there was none."""
        return bool(self._rows("DELETE FROM stage_request WHERE id = ? RETURNING id", (request,)))


def _entry(row: tuple[object, ...]) -> Entry:
    path, directory, *rest = row
    return Entry(path, bool(directory), *rest)  # type: ignore[arg-type]
