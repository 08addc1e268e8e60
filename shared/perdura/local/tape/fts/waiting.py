"""Files that wait for tape: on their way there (ARCHIVING), or back to disk (STAGING, STARTED) (fts-cta.md 3.4, 4)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from perdura.local.tape import clock
from perdura.local.tape.fts import retries, transitions
from perdura.local.tape.fts.changing import Changing
from perdura.local.tape.fts.credentials import DelegatedProxies, may_act
from perdura.local.tape.fts.model import TOKEN, Model
from perdura.local.tape.fts.monitor import Monitor, Watched
from perdura.local.tape.fts.storage import ENOMSG, StorageError, Storages, path, storage
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.scheduler import Scheduler

log = logging.getLogger(__name__)
BULK = 200
DAY = 86400
AGAIN = 120
"""Seconds between two attempts where the job names none (fts-cta.md 3.3)."""
Run = Callable[[Callable[[], None]], None]


class Archiving:
    """Asks `archiveinfo` of files that were copied until they are on tape, or their time is over.

    It acts with its user's proxy: while there is none that lasts, nothing is asked and nothing is concluded.
    """

    def __init__(
        self,
        changing: Changing,
        storages: Storages,
        proxies: DelegatedProxies | None,
        model: Model,
        scheduler: Scheduler,
        run: Run,
        first: float,
        longest: float,
    ) -> None:
        self._changing, self._storages, self._proxies, self._model = changing, storages, proxies, model
        self._noted: set[int] = set()  # files whose monitoring has been noted
        self._monitor = Monitor(scheduler, run, self._look, first, longest)
        self.wake = self._monitor.wake

    def watch(self, job: Row, file: Row) -> None:
        """Follow a file from now on."""
        since = retries.epoch(file["archive_start_time"] or clock.moment())
        self._monitor.add(Watched(job["job_id"], file["file_id"], file["dest_surl"], since, job["archive_timeout"]))

    def _look(self, watched: Sequence[Watched]) -> bool:
        by_storage: dict[str, list[Watched]] = defaultdict(list)
        for file in watched:
            if self._may_be_asked(file):
                by_storage[storage(file.url)].append(file)
        groups = [files[n : n + BULK] for files in by_storage.values() for n in range(0, len(files), BULK)]
        moved = [self._look_together(group) for group in groups]
        return any(moved)

    def _may_be_asked(self, file: Watched) -> bool:
        if self._changing.frozen(file.job_id):
            return False
        if self._proxies is None:
            return True
        job = self._changing.ledger.job(file.job_id)
        return job is None or may_act(self._proxies, job)

    def _told(self, group: Sequence[Watched]) -> dict[str, Mapping[str, Any]]:
        """`archiveinfo` items by URL, those of modelled storages included."""
        modelled = {file.url: self._model.archived(file.url, clock.now() - file.since) for file in group}
        items = {url: item for url, item in modelled.items() if item is not None}
        real = [url for url, item in modelled.items() if item is None]
        try:
            return items | (self._storages.archived(real) if real else {})
        except StorageError as error:
            log.warning("archiveinfo: %s", error.message)
            return items

    def _look_together(self, group: Sequence[Watched]) -> bool:
        items = self._told(group)
        moved = False
        for file in group:
            ended = retries.archive_result(items.get(file.url))
            if ended is None and clock.now() - file.since > file.limit:
                ended = ("FAILED", "ARCHIVING [110] archive timeout has been exceeded")
            if ended is None and file.file_id in self._noted:
                continue

            def act(job: Row, files: list[Row], row: Row, ended: tuple[str, str] | None = ended) -> None:
                if row["archive_start_time"] is None:
                    transitions.archive_start(row)
                if ended is not None:
                    transitions.archive_end(job, files, row, *ended)

            changed = self._changing.change(file.job_id, file.file_id, frozenset({"ARCHIVING"}), act)
            self._noted.add(file.file_id)
            if ended is not None or changed is None:
                self._monitor.discard(file.file_id)
                self._noted.discard(file.file_id)
                moved = True
        return moved


class Staging:
    """Sends stage requests and follows them. `later` takes a file up after so many seconds of FTS: job, file, state."""

    def __init__(
        self,
        changing: Changing,
        storages: Storages,
        model: Model,
        scheduler: Scheduler,
        run: Run,
        later: Callable[[float, str, int, str], None],
        first: float,
        longest: float,
    ) -> None:
        self._changing, self._storages, self._model, self._later = changing, storages, model, later
        self._monitor = Monitor(scheduler, run, self._look, first, longest)
        self.wake = self._monitor.wake

    def begin(self, job_id: str, file_id: int) -> None:
        """Ask the storage for a file on disk."""
        begun = self._changing.change(
            job_id, file_id, frozenset({"STAGING"}), lambda job, _, file: transitions.started(job, file)
        )
        if begun is None:
            return
        job, _, file, _ = begun
        pin = job["copy_pin_lifetime"] if job["copy_pin_lifetime"] > 0 else 7 * DAY
        try:
            token = self._requested(file["source_surl"], pin)
        except StorageError as error:
            self._failed(job_id, file_id, error.errno, error.message)
            return
        requested = self._changing.change(
            job_id, file_id, frozenset({"STARTED"}), lambda _, __, file: file.update(bringonline_token=token)
        )
        if requested is not None:
            self.watch(requested[0], requested[2])

    def _requested(self, url: str, pin: int) -> str:
        if self._model.of(url) is not None:
            return TOKEN
        document = {"files": [{"path": path(url), "diskLifetime": f"PT{pin}S"}]}
        return str(self._storages.tape(storage(url), "stage", document)["requestId"])

    def watch(self, job: Row, file: Row) -> None:
        """Follow a file from now on."""
        limit = job["bring_online"] if job["bring_online"] > 0 else 7 * DAY
        since, token = retries.epoch(file["staging_start"]), file["bringonline_token"]
        self._monitor.add(Watched(job["job_id"], file["file_id"], file["source_surl"], since, limit, token))

    def _look(self, watched: Sequence[Watched]) -> bool:
        moved = False
        for file in watched:
            if self._changing.frozen(file.job_id):
                continue
            item = self._told(file)
            if item.get("error"):
                self._failed(file.job_id, file.file_id, ENOMSG, f"[Tape REST API] {item['error']}")
            elif item.get("onDisk") or item.get("state") == "COMPLETED":
                changed = self._changing.change(file.job_id, file.file_id, frozenset({"STARTED"}), transitions.staged)
                if changed is not None and changed[2]["file_state"] == "SUBMITTED":
                    self._later(0, file.job_id, file.file_id, "SUBMITTED")
            elif clock.now() - file.since > file.limit:
                self._failed(file.job_id, file.file_id, 110, "bring-online timeout has been exceeded")
            else:
                continue
            self._monitor.discard(file.file_id)
            moved = True
        return moved

    def _told(self, file: Watched) -> Row:
        if (modelled := self._model.staged(file.url, clock.now() - file.since)) is not None:
            return modelled
        try:
            poll = self._storages.tape(storage(file.url), f"stage/{file.token}")
        except StorageError as error:
            log.warning("stage poll: %s", error.message)
            return {}
        return next((dict(item) for item in poll["files"] if item.get("path") == path(file.url)), {})

    def _failed(self, job_id: str, file_id: int, errno: int, text: str) -> None:
        reason, again = f"STAGING [{errno}] {text}", errno in retries.STAGE_AGAIN

        def act(job: Row, files: list[Row], file: Row) -> Any:
            return transitions.stage_fail(job, files, file, reason, again)

        changed = self._changing.change(job_id, file_id, frozenset({"STARTED"}), act)
        if changed is not None and changed[3] is not None:
            self._later(changed[0]["retry_delay"] or AGAIN, job_id, file_id, "STAGING")

    def release(self, file: Row) -> None:
        """Let the storage evict a file that was copied away."""
        if file["bringonline_token"] == TOKEN:
            return
        try:
            document = {"paths": [path(file["source_surl"])]}
            self._storages.tape(storage(file["source_surl"]), f"release/{file['bringonline_token']}", document)
        except StorageError as error:
            log.warning("release: %s", error.message)
