"""What the daemons do: pick files, copy them, watch them reach tape, stage them, tidy up (fts-cta.md 3 and 4).

Everything is event-driven: workers wait in a queue, later things in the scheduler, and the tape library wakes the
monitors when something moved, so that an idle service does nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from perdura.local.tape.faults import Faults
from perdura.local.tape.fts import retries, transitions
from perdura.local.tape.fts.credentials import DelegatedProxies
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.monitor import Monitor, Watched
from perdura.local.tape.fts.storage import ENOMSG, StorageError, Storages, path, storage
from perdura.local.tape.fts.submission import Row, moment
from perdura.local.tape.scheduler import Scheduler

log = logging.getLogger(__name__)
BULK = 200
DAY = 86400


@dataclass(frozen=True, slots=True)
class Pace:
    """Timers in seconds. The defaults are a real server's divided by some hundreds."""

    monitor: float = 0.05
    monitor_longest: float = 30.0
    retry_unit: float = 0.01
    """How long one second of `retry_delay` lasts here."""
    retention: float = 7 * DAY
    workers: int = 4


class CopyFailed(Exception):
    """A copy failed: scope, errno, text and what the destination was found to be."""

    def __init__(self, scope: str, errno: int, text: str, metadata: Row | None = None) -> None:
        super().__init__(text)
        self.scope, self.errno, self.text, self.metadata = scope, errno, text, metadata

    @property
    def reason(self) -> str:
        """The reason as FTS writes it, query strings left out."""
        return retries.redacted(f"{self.scope} [{self.errno}] {self.text}")[:2048]


class Daemon:
    """Works on the jobs of a ledger until stopped."""

    def __init__(
        self,
        ledger: Ledger,
        storages: Storages,
        faults: Faults,
        scheduler: Scheduler,
        pace: Pace | None = None,
        proxies: DelegatedProxies | None = None,
    ) -> None:
        self.ledger, self.storages, self.faults, self.scheduler = ledger, storages, faults, scheduler
        self.pace = pace or Pace()
        self._proxies = proxies
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        first, longest = self.pace.monitor, self.pace.monitor_longest
        self._monitored: set[int] = set()  # files whose monitoring has been noted
        self._archiving = Monitor(scheduler, self._tasks.put, self._look_archiving, first, longest)
        self._staging = Monitor(scheduler, self._tasks.put, self._look_staging, first, longest)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.pace.workers)]

    def start(self) -> None:
        """Begin, and go on with what was under way when the service stopped."""
        for thread in self._threads:
            thread.start()
        for file_id, job_id, state in self.ledger.open_files():
            if state in ("READY", "ACTIVE"):
                with self.ledger.change():
                    found = self._load(job_id, file_id)
                    if found is not None:
                        job, _, file = found
                        file |= {"file_state": "SUBMITTED", "start_time": None}
                        self.ledger.store(job, [file])
                state = "SUBMITTED"
            self._enqueue(job_id, file_id, state)
        self._clean()

    def stop(self) -> None:
        """End the workers after what each is at."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def submitted(self, job: Row, files: Iterable[Row]) -> None:
        """Take up a new job."""
        for file in files:
            self._enqueue(job["job_id"], file["file_id"], file["file_state"])

    def wake(self) -> None:
        """Something moved in the tape library: look at once."""
        self._archiving.wake()
        self._staging.wake()

    def _enqueue(self, job_id: str, file_id: int, state: str) -> None:
        if state == "SUBMITTED":
            self._tasks.put(lambda: self._copy(job_id, file_id))
        elif state == "STAGING":
            self._tasks.put(lambda: self._stage(job_id, file_id))
        elif state in ("ARCHIVING", "STARTED"):
            found = self._load(job_id, file_id)
            if found is not None:
                self._watch(found[0], found[2])

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                log.exception("a transfer task failed")

    def _load(self, job_id: str, file_id: int) -> tuple[Row, list[Row], Row] | None:
        job = self.ledger.job(job_id)
        files = self.ledger.files(job_id)
        file = next((file for file in files if file["file_id"] == file_id), None)
        return None if job is None or file is None else (job, files, file)

    def _change(
        self, job_id: str, file_id: int, expected: frozenset[str], act: Callable[[Row, list[Row], Row], Any]
    ) -> tuple[Row, list[Row], Row, Any] | None:
        """Load, check that the file is still where it was left, act and store, in one transaction."""
        with self.ledger.change():
            found = self._load(job_id, file_id)
            if found is None:
                return None
            job, files, file = found
            if file["file_state"] not in expected:
                if file["file_state"] == "CANCELED" and file["finish_time"] is None:
                    file["finish_time"] = moment()
                    self.ledger.store(job, [file])
                return None
            before = {other["file_id"]: other["file_state"] for other in files}
            result = act(job, files, file)
            if isinstance(result, dict):
                self.ledger.add_retry(result)
            self.ledger.store(job, files)
        for other in files:
            if other is not file and other["file_state"] != before[other["file_id"]]:
                self._enqueue(job_id, other["file_id"], other["file_state"])
        return job, files, file, result

    def _copy(self, job_id: str, file_id: int) -> None:
        found = self._load(job_id, file_id)
        if found is None:
            return
        if (limit := found[0]["max_time_in_queue"]) and limit < time.time():
            with self.ledger.change():
                job, files, _ = found
                transitions.queue_timeout(job, files)
                self.ledger.store(job, files)
            return
        picked = self._change(
            job_id, file_id, frozenset({"SUBMITTED"}), lambda job, _, file: transitions.ready(job, file)
        )
        if picked is None:
            return
        job, _, file, _ = picked
        began = time.monotonic()
        try:
            self._transfer(job, file)
        except CopyFailed as failure:
            self._failed(job_id, file_id, failure)
            return
        seconds = round(time.monotonic() - began, 3)
        ended = self._change(
            job_id, file_id, frozenset({"ACTIVE"}), lambda job, files, file: transitions.done(job, files, file, seconds)
        )
        if ended is not None and ended[2]["file_state"] == "ARCHIVING":
            self._watch(ended[0], ended[2])
        if ended is not None and ended[2]["bringonline_token"] and ended[2]["file_state"] == "FINISHED":
            self._release(ended[2])

    def _failed(self, job_id: str, file_id: int, failure: CopyFailed) -> None:
        recoverable = retries.recoverable(failure.scope, failure.errno, failure.text)

        def act(job: Row, files: list[Row], file: Row) -> Row | None:
            return transitions.fail(job, files, file, failure.reason, recoverable, failure.errno, failure.metadata)

        changed = self._change(job_id, file_id, frozenset({"READY", "ACTIVE"}), act)
        if changed is not None and changed[3] is not None:
            job, _, file, _ = changed
            delay = (job["retry_delay"] or 120) * self.pace.retry_unit
            state = file["file_state"]
            self.scheduler.after(delay, lambda: self._enqueue(job_id, file_id, state))

    def _transfer(self, job: Row, file: Row) -> None:
        """One copy, in the order and with the texts of fts_url_copy; raises CopyFailed."""
        source, destination = file["source_surl"], file["dest_surl"]
        mode, wanted = job["verify_checksum"], retries.checksum(file["checksum"])
        bearer = self._source_token(job, file)
        if fault := self.faults.apply("transfer-failure", f"{source} {destination}"):
            scope, _, text = str(fault.get("text", "TRANSFER TRANSFER ERROR: injected")).partition(" ")
            raise CopyFailed(scope, int(fault.get("errno", 110)), text)
        try:
            found = self.storages.stat(source, bearer)
        except StorageError as error:
            raise CopyFailed("SOURCE", error.errno, error.message) from error
        if found is None:
            raise CopyFailed("SOURCE", 2, "Result HTTP 404 : File not found  after 1 attempts")
        started = self._change(
            job["job_id"],
            file["file_id"],
            frozenset({"READY"}),
            lambda job, _, file: transitions.active(job, file, found.size),
        )
        if started is None:
            raise CopyFailed("TRANSFER", 125, "Transfer canceled by the user")
        if mode in "sb":
            if found.adler32 is None:
                raise CopyFailed("SOURCE", 38, "checksum calculation for ADLER32 not supported")
            if wanted and wanted != found.adler32:
                text = f"Source and user-defined ADLER32 checksum do not match ({found.adler32} != {wanted})"
                raise CopyFailed("SOURCE", 5, text)
        self._destination_free(job, file)
        headers = {"Source": source.replace("davs://", "https://", 1), "Credential": "none", "Overwrite": "F"}
        headers["RequireChecksumVerification"] = "false"
        if bearer is not None:
            headers["TransferHeaderAuthorization"] = f"Bearer {bearer}"
        elif opened := self.storages.credentials(source).get("Authorization"):
            headers["TransferHeaderAuthorization"] = opened
        try:
            self.storages.copy(destination, headers)
        except StorageError as error:
            if error.errno != 17:
                self.storages.delete(destination)
            raise CopyFailed("TRANSFER", error.errno, error.message) from error
        self._verify(mode, wanted, found.size, found.adler32, destination)

    def _source_token(self, job: Row, file: Row) -> str | None:
        """The token that came with the submission, or one the storage gives to the user's proxy."""
        held = self.ledger.note("token", str(file["src_token_id"]))
        if held is not None:
            return str(held["token"])
        context = self._proxies.context(job["user_dn"]) if self._proxies else None
        if context is None or not file["source_surl"].startswith(("https://", "davs://")):
            return None
        minutes = (600 + 2 * (file["user_filesize"] >> 20)) // 60 + 10
        return self.storages.macaroon(file["source_surl"], minutes, context)

    def _destination_free(self, job: Row, file: Row) -> None:
        destination = file["dest_surl"]
        try:
            there = self.storages.stat(destination)
        except StorageError as error:
            raise CopyFailed("DESTINATION", error.errno, error.message) from error
        if there is None:
            return
        if job["overwrite_flag"] == "Y":
            self.storages.delete(destination)
            return
        metadata = None
        if job["dst_file_report"] and job["archive_timeout"] > 0:
            report: Row = {
                "file_size": there.size, "checksum_type": "ADLER32", "checksum_value": there.adler32,
                "file_on_disk": False, "file_on_tape": False,
            }  # fmt: skip
            try:
                locality = self.storages.archived([destination])[destination].get("locality", "")
                report["file_on_disk"], report["file_on_tape"] = "DISK" in locality, "TAPE" in locality
                metadata = {**(file["file_metadata"] or {}), "dst_file": report}
            except (StorageError, KeyError):
                metadata = None
        text = "Destination file exists and overwrite is not enabled"
        raise CopyFailed("DESTINATION", 17, text, metadata)

    def _verify(self, mode: str, wanted: str | None, size: int, source_sum: str | None, destination: str) -> None:
        try:
            there = self.storages.stat(destination)
        except StorageError as error:
            raise CopyFailed("DESTINATION", error.errno, error.message) from error
        failure = None
        if there is None or there.size != size:
            failure = CopyFailed("DESTINATION", 22, "Source and destination file size mismatch")
        elif mode in "tb" and wanted and there.adler32 != wanted:
            text = f"User-defined and destination ADLER32 checksum do not match ({wanted} != {there.adler32})"
            failure = CopyFailed("DESTINATION", 5, text)
        elif mode == "b" and source_sum and there.adler32 != source_sum:
            text = f"Source and destination ADLER32 checksum do not match ({source_sum} != {there.adler32})"
            failure = CopyFailed("DESTINATION", 5, text)
        if failure is not None:
            self.storages.delete(destination)
            raise failure

    def _watch(self, job: Row, file: Row) -> None:
        if file["file_state"] == "ARCHIVING":
            since, limit = file["archive_start_time"] or moment(), job["archive_timeout"]
            url, monitor = file["dest_surl"], self._archiving
        else:
            since, limit = file["staging_start"], job["bring_online"] if job["bring_online"] > 0 else 7 * DAY
            url, monitor = file["source_surl"], self._staging
        monitor.add(
            Watched(job["job_id"], file["file_id"], url, retries.epoch(since), limit, file["bringonline_token"])
        )

    def _look_archiving(self, watched: Sequence[Watched]) -> bool:
        by_storage: dict[str, list[Watched]] = defaultdict(list)
        for file in watched:
            by_storage[storage(file.url)].append(file)
        groups = [files[n : n + BULK] for files in by_storage.values() for n in range(0, len(files), BULK)]
        moved = [self._look_together(group) for group in groups]
        return any(moved)

    def _look_together(self, group: Sequence[Watched]) -> bool:
        try:
            items = self.storages.archived([file.url for file in group])
        except StorageError as error:
            log.warning("archiveinfo: %s", error.message)
            items = {}
        moved = False
        for file in group:
            ended = retries.archive_result(items.get(file.url))
            if ended is None and time.time() - file.since > file.limit:
                ended = ("FAILED", "ARCHIVING [110] archive timeout has been exceeded")
            if ended is None and file.file_id in self._monitored:
                continue

            def act(job: Row, files: list[Row], row: Row, ended: tuple[str, str] | None = ended) -> None:
                if row["archive_start_time"] is None:
                    transitions.archive_start(row)
                if ended is not None:
                    transitions.archive_end(job, files, row, *ended)

            changed = self._change(file.job_id, file.file_id, frozenset({"ARCHIVING"}), act)
            self._monitored.add(file.file_id)
            if ended is not None or changed is None:
                self._archiving.discard(file.file_id)
                self._monitored.discard(file.file_id)
                moved = True
        return moved

    def _stage(self, job_id: str, file_id: int) -> None:
        begun = self._change(
            job_id, file_id, frozenset({"STAGING"}), lambda job, _, file: transitions.started(job, file)
        )
        if begun is None:
            return
        job, _, file, _ = begun
        pin = job["copy_pin_lifetime"] if job["copy_pin_lifetime"] > 0 else 7 * DAY
        try:
            document = {"files": [{"path": path(file["source_surl"]), "diskLifetime": f"PT{pin}S"}]}
            token = self.storages.tape(storage(file["source_surl"]), "stage", document)["requestId"]
        except StorageError as error:
            self._staging_failed(job_id, file_id, error.errno, error.message)
            return
        requested = self._change(
            job_id, file_id, frozenset({"STARTED"}), lambda _, __, file: file.update(bringonline_token=token)
        )
        if requested is not None:
            self._watch(requested[0], requested[2])

    def _look_staging(self, watched: Sequence[Watched]) -> bool:
        moved = False
        for file in watched:
            try:
                poll = self.storages.tape(storage(file.url), f"stage/{file.token}")
                item: Row = next((i for i in poll["files"] if i.get("path") == path(file.url)), {})
            except StorageError as error:
                log.warning("stage poll: %s", error.message)
                item = {}
            if item.get("error"):
                self._staging_failed(file.job_id, file.file_id, ENOMSG, f"[Tape REST API] {item['error']}")
            elif item.get("onDisk") or item.get("state") == "COMPLETED":
                changed = self._change(file.job_id, file.file_id, frozenset({"STARTED"}), transitions.staged)
                if changed is not None and changed[2]["file_state"] == "SUBMITTED":
                    self._enqueue(file.job_id, file.file_id, "SUBMITTED")
            elif time.time() - file.since > file.limit:
                self._staging_failed(file.job_id, file.file_id, 110, "bring-online timeout has been exceeded")
            else:
                continue
            self._staging.discard(file.file_id)
            moved = True
        return moved

    def _staging_failed(self, job_id: str, file_id: int, errno: int, text: str) -> None:
        reason, again = f"STAGING [{errno}] {text}", errno in retries.STAGE_AGAIN

        def act(job: Row, files: list[Row], file: Row) -> Row | None:
            return transitions.stage_fail(job, files, file, reason, again)

        changed = self._change(job_id, file_id, frozenset({"STARTED"}), act)
        if changed is not None and changed[3] is not None:
            delay = (changed[0]["retry_delay"] or 120) * self.pace.retry_unit
            self.scheduler.after(delay, lambda: self._enqueue(job_id, file_id, "STAGING"))

    def _release(self, file: Row) -> None:
        try:
            document = {"paths": [path(file["source_surl"])]}
            self.storages.tape(storage(file["source_surl"]), f"release/{file['bringonline_token']}", document)
        except StorageError as error:
            log.warning("release: %s", error.message)

    def _clean(self) -> None:
        for job_id in self.ledger.finished_before(moment(time.time() - self.pace.retention)):
            self.ledger.clean(job_id)
        self.scheduler.after(min(3600.0, self.pace.retention), lambda: self._tasks.put(self._clean))
