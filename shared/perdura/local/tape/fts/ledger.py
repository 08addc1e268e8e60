"""What the transfer service remembers, in one SQLite file: jobs, files, retries, delegations, bans.

File ids count from 8872390197, as on servers of this schema: above 2^32.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perdura.local.tape.fts.submission import Row
from perdura.local.tape.fts.transitions import FINAL

SCHEMA = """
CREATE TABLE IF NOT EXISTS job (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL UNIQUE, vo TEXT NOT NULL,
    finished TEXT, document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS job_unfinished ON job (vo, number) WHERE finished IS NULL;
CREATE TABLE IF NOT EXISTS file (
    file_id INTEGER PRIMARY KEY AUTOINCREMENT, job_id TEXT NOT NULL, state TEXT NOT NULL, document TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS file_of_job ON file (job_id, file_id);
CREATE INDEX IF NOT EXISTS file_open ON file (state) WHERE state NOT IN ('FINISHED', 'FAILED', 'CANCELED');
INSERT INTO sqlite_sequence (name, seq) SELECT 'file', 8872390196
    WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'file');
CREATE TABLE IF NOT EXISTS retry (file_id INTEGER NOT NULL, document TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS retry_of_file ON retry (file_id);
CREATE TABLE IF NOT EXISTS backup (job_id TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS note (kind TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL,
    PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""


class DuplicateJob(Exception):
    """There is a job of that id."""


class Ledger:
    """The only writer of the SQLite file. `change()` groups what belongs together and excludes other threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def change(self) -> Iterator[None]:
        """One transaction; nested ones join the outer one."""
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._depth == 1:
                    self._db.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self._db.execute("COMMIT")
            finally:
                self._depth -= 1

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def add_job(self, job: Row, files: list[Row]) -> None:
        """Store a new job; its files get their ids. Raises DuplicateJob."""
        with self.change():
            try:
                self._rows(
                    "INSERT INTO job (job_id, vo, finished, document) VALUES (?, ?, NULL, ?)",
                    (job["job_id"], job["vo_name"], json.dumps(job)),
                )
            except sqlite3.IntegrityError as error:
                raise DuplicateJob from error
            for file in files:
                ((file["file_id"],),) = self._rows(
                    "INSERT INTO file (job_id, state, document) VALUES (?, ?, '') RETURNING file_id",
                    (job["job_id"], file["file_state"]),
                )
                self._store_file(file)

    def store(self, job: Row, files: Sequence[Row]) -> None:
        """Write changed rows back."""
        with self.change():
            self._rows(
                "UPDATE job SET finished = ?, document = ? WHERE job_id = ?",
                (job["job_finished"], json.dumps(job), job["job_id"]),
            )
            for file in files:
                self._store_file(file)

    def _store_file(self, file: Row) -> None:
        self._rows(
            "UPDATE file SET state = ?, document = ? WHERE file_id = ?",
            (file["file_state"], json.dumps(file), file["file_id"]),
        )

    def job(self, job_id: str) -> Row | None:
        """A job by id."""
        rows = self._rows("SELECT document FROM job WHERE job_id = ?", (job_id,))
        return json.loads(rows[0][0]) if rows else None

    def jobs(self, vo: str | None, *, unfinished: bool) -> list[Row]:
        """Jobs of a VO (None: of all), newest first."""
        sql = "SELECT document FROM job WHERE (? IS NULL OR vo = ?)"
        sql += " AND finished IS NULL" if unfinished else ""
        sql += " ORDER BY number DESC"
        return [json.loads(row[0]) for row in self._rows(sql, (vo, vo))]

    def files(self, job_id: str) -> list[Row]:
        """Files of a job, by id."""
        rows = self._rows("SELECT document FROM file WHERE job_id = ? ORDER BY file_id", (job_id,))
        return [json.loads(row[0]) for row in rows]

    def open_files(self) -> list[tuple[int, str, str]]:
        """File id, job id and state of every file that is not final."""
        states = ", ".join(f"'{state}'" for state in sorted(FINAL))
        sql = f"SELECT file_id, job_id, state FROM file WHERE state NOT IN ({states}) ORDER BY file_id"  # noqa: S608
        return [(int(a), str(b), str(c)) for a, b, c in self._rows(sql)]

    def add_retry(self, record: Row) -> None:
        """Keep the record of a failed attempt."""
        self._rows("INSERT INTO retry (file_id, document) VALUES (?, ?)", (record["file_id"], json.dumps(record)))

    def retries(self, file_id: int) -> list[Row]:
        """Failed attempts of a file."""
        rows = self._rows("SELECT document FROM retry WHERE file_id = ? ORDER BY rowid", (file_id,))
        return [json.loads(row[0]) for row in rows]

    def clean(self, job_id: str) -> None:
        """Move a job to the backup, as the cleaner does after its retention (fts-cta.md 2.13)."""
        with self.change():
            job = self.job(job_id)
            if job is None:
                return
            files = self.files(job_id)
            self._rows(
                "INSERT OR REPLACE INTO backup (job_id, document) VALUES (?, ?)",
                (job_id, json.dumps({**job, "files": files})),
            )
            for file in files:
                self._rows("DELETE FROM retry WHERE file_id = ?", (file["file_id"],))
            self._rows("DELETE FROM file WHERE job_id = ?", (job_id,))
            self._rows("DELETE FROM job WHERE job_id = ?", (job_id,))

    def finished_before(self, when: str) -> list[str]:
        """Ids of jobs that finished before a moment."""
        return [str(row[0]) for row in self._rows("SELECT job_id FROM job WHERE finished < ?", (when,))]

    def backup(self, job_id: str) -> Row | None:
        """A job that was moved away, with its files."""
        rows = self._rows("SELECT document FROM backup WHERE job_id = ?", (job_id,))
        return json.loads(rows[0][0]) if rows else None

    def note(self, kind: str, name: str) -> Row | None:
        """A small record: delegation, ban, right, storage key."""
        rows = self._rows("SELECT document FROM note WHERE kind = ? AND name = ?", (kind, name))
        return json.loads(rows[0][0]) if rows else None

    def notes(self, kind: str) -> list[tuple[str, Row]]:
        """All records of a kind, by name."""
        rows = self._rows("SELECT name, document FROM note WHERE kind = ? ORDER BY name", (kind,))
        return [(str(name), json.loads(document)) for name, document in rows]

    def keep_note(self, kind: str, name: str, document: Row | None) -> None:
        """Store a small record; None removes it."""
        if document is None:
            self._rows("DELETE FROM note WHERE kind = ? AND name = ?", (kind, name))
        else:
            self._rows(
                "INSERT OR REPLACE INTO note (kind, name, document) VALUES (?, ?, ?)",
                (kind, name, json.dumps(document)),
            )

    def counts(self) -> dict[str, int]:
        """Number of files by state."""
        return {str(s): int(n) for s, n in self._rows("SELECT state, count(*) FROM file GROUP BY state")}
