"""The daemons: they pick files, have them copied or staged, try again, and tidy up (fts-cta.md 3 and 4).

Everything is event-driven: workers wait in a queue, later things in the scheduler, and the tape library wakes the
monitors when something moved, so that an idle service does nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from perdura.local.tape import clock
from perdura.local.tape.clock import moment
from perdura.local.tape.faults import Faults
from perdura.local.tape.fts import retries, transitions
from perdura.local.tape.fts.changing import Changing
from perdura.local.tape.fts.copying import Copier, CopyFailed
from perdura.local.tape.fts.credentials import DelegatedProxies
from perdura.local.tape.fts.ledger import Ledger
from perdura.local.tape.fts.model import Model
from perdura.local.tape.fts.storage import Storages
from perdura.local.tape.fts.submission import Row
from perdura.local.tape.fts.waiting import AGAIN, DAY, Archiving, Staging
from perdura.local.tape.scheduler import Scheduler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Timers in seconds. The defaults are a real server's divided by some hundreds."""

    monitor: float = 0.05
    monitor_longest: float = 30.0
    retry_unit: float = 0.01
    """How long one second of `retry_delay` lasts here."""
    retention: float = 7 * DAY
    workers: int = 4


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
        self.ledger, self._faults, self._scheduler = ledger, faults, scheduler
        self.pace = pace or Pace()
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._changing = Changing(ledger, self._enqueue)
        self._copier = Copier(ledger, storages, faults, proxies)
        model = Model(faults)
        timers = self.pace.monitor, self.pace.monitor_longest
        self._archiving = Archiving(self._changing, storages, proxies, model, scheduler, self._tasks.put, *timers)
        self._staging = Staging(self._changing, storages, model, scheduler, self._tasks.put, self._later, *timers)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(self.pace.workers)]

    def start(self) -> None:
        """Begin, and go on with what was under way when the service stopped."""
        for thread in self._threads:
            thread.start()
        for file_id, job_id, state in self.ledger.open_files():
            self._take_up(job_id, file_id, state)
        self._clean()

    def stop(self) -> None:
        """End the workers after what each is at."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def submitted(self, job: Row, files: Iterable[Row]) -> None:
        """Take up a new job, unless a rule freezes it."""
        listed = list(files)
        if any(self._faults.apply("freeze", f"{file['source_surl']} {file['dest_surl']}") for file in listed):
            self.ledger.keep_note("frozen", job["job_id"], {"since": moment()})
        for file in listed:
            self._enqueue(job["job_id"], file["file_id"], file["file_state"])

    def thaw(self, job_id: str) -> None:
        """Go on with a job that was frozen, from where it is."""
        self.ledger.keep_note("frozen", job_id, None)
        for file in self.ledger.files(job_id):
            self._take_up(job_id, file["file_id"], file["file_state"])

    def wake(self) -> None:
        """Something moved in the tape library, a user delegated, or the clock was set: look at once."""
        self._archiving.wake()
        self._staging.wake()

    def _take_up(self, job_id: str, file_id: int, state: str) -> None:
        """Go on with a file that nobody works on; a copy that was cut off begins anew."""
        if state in ("READY", "ACTIVE"):
            state = "SUBMITTED"
            with self.ledger.change():
                found = self._changing.load(job_id, file_id)
                if found is not None and not self._changing.frozen(job_id):
                    job, _, file = found
                    file |= {"file_state": state, "start_time": None}
                    self.ledger.store(job, [file])
        self._enqueue(job_id, file_id, state)

    def _enqueue(self, job_id: str, file_id: int, state: str) -> None:
        if state == "SUBMITTED":
            self._tasks.put(lambda: self._copy(job_id, file_id))
        elif state == "STAGING":
            self._tasks.put(lambda: self._staging.begin(job_id, file_id))
        elif state in ("ARCHIVING", "STARTED"):
            found = self._changing.load(job_id, file_id)
            if found is not None:
                (self._archiving if state == "ARCHIVING" else self._staging).watch(found[0], found[2])

    def _later(self, seconds: float, job_id: str, file_id: int, state: str) -> None:
        """Take a file up after so many seconds of FTS."""
        self._scheduler.after(seconds * self.pace.retry_unit, lambda: self._enqueue(job_id, file_id, state))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception:
                log.exception("a transfer task failed")

    def _copy(self, job_id: str, file_id: int) -> None:
        found = self._changing.load(job_id, file_id)
        if found is None or self._changing.frozen(job_id):
            return
        if (limit := found[0]["max_time_in_queue"]) and limit < clock.now():
            with self.ledger.change():
                job, files, _ = found
                transitions.queue_timeout(job, files)
                self.ledger.store(job, files)
            return
        picked = self._changing.change(
            job_id, file_id, frozenset({"SUBMITTED"}), lambda job, _, file: transitions.ready(job, file)
        )
        if picked is None:
            return
        job, _, file, _ = picked
        began = time.monotonic()
        try:
            self._copier.copy(job, file, lambda size: self._begun(job_id, file_id, size))
        except CopyFailed as failure:
            self._failed(job_id, file_id, failure)
            return
        seconds = round(time.monotonic() - began, 3)
        ended = self._changing.change(
            job_id, file_id, frozenset({"ACTIVE"}), lambda job, files, file: transitions.done(job, files, file, seconds)
        )
        if ended is not None and ended[2]["file_state"] == "ARCHIVING":
            self._archiving.watch(ended[0], ended[2])
        if ended is not None and ended[2]["bringonline_token"] and ended[2]["file_state"] == "FINISHED":
            self._staging.release(ended[2])

    def _begun(self, job_id: str, file_id: int, size: int) -> bool:
        return self._changing.change(
            job_id, file_id, frozenset({"READY"}), lambda job, _, file: transitions.active(job, file, size)
        ) is not None  # fmt: skip

    def _failed(self, job_id: str, file_id: int, failure: CopyFailed) -> None:
        recoverable = retries.recoverable(failure.scope, failure.errno, failure.text)

        def act(job: Row, files: list[Row], file: Row) -> Row | None:
            return transitions.fail(job, files, file, failure.reason, recoverable, failure.errno, failure.metadata)

        changed = self._changing.change(job_id, file_id, frozenset({"READY", "ACTIVE"}), act)
        if changed is not None and changed[3] is not None:
            self._later(changed[0]["retry_delay"] or AGAIN, job_id, file_id, changed[2]["file_state"])

    def _clean(self) -> None:
        for job_id in self.ledger.finished_before(moment(clock.now() - self.pace.retention)):
            self.ledger.clean(job_id)
        self._scheduler.after(min(3600.0, self.pace.retention), lambda: self._tasks.put(self._clean))
