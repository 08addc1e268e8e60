"""Runs a stack: starts what the plan names, keeps it running, and ends it without leaving a process behind.

One thread decides; the kernel (SIGCHLD, SIGTERM, SIGINT), the health watch and the preparation only wake it.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType

from perdura.errors import Broken
from perdura.local import postgres
from perdura.local.health import Watch
from perdura.local.plan import Plan
from perdura.local.process import Child, Identity, Program, boot, stop
from perdura.local.state import Home
from perdura.local.status import (
    ProcessState,
    ProcessStatus,
    StackState,
    Status,
    log_tail,
    moment,
    read_status,
    write_status,
)

STOP_SECONDS = 10.0
START_SECONDS = 120.0
SETTLED_AFTER = 1.0
"""Seconds a process that cannot be asked must live to be believed."""
STEADY_AFTER = 60.0
"""Seconds a process must live for its crashes to be forgotten."""
GIVE_UP_AFTER = 6
"""Crashes during the start of a stack after which the start has failed."""
UNHEALTHY_LOOKS = 3
UNHEALTHY_SECONDS = 60.0
"""Seconds without an answer after which a process is ended and started again."""


def restart_delay(crashes: int) -> float:
    """Seconds to wait before starting again what crashed so often in a row: 0.2 doubling to 30."""
    return float(min(30.0, 0.2 * 2 ** max(0, crashes - 1)))


@dataclass(slots=True)
class _Kept:
    """A program, the process that runs it now, and its history."""

    program: Program
    child: Child | None = None
    crashes: int = 0
    restarts: int = 0
    due: float | None = None
    silent_looks: int = 0
    silent_since: float | None = None
    well: bool = False
    since: float = field(default_factory=time.time)

    @property
    def state(self) -> ProcessState:
        if self.child is None:
            return ProcessState.CRASHED
        settled = time.time() - self.since > SETTLED_AFTER
        if self.well if self.program.health is not None else settled:
            return ProcessState.RUNNING
        return ProcessState.UNHEALTHY if self.silent_looks >= UNHEALTHY_LOOKS else ProcessState.STARTING


class Supervisor:
    """The life of one stack; `run()` returns when it was asked to end or could not start."""

    def __init__(self, home: Home, plan: Plan, say: Callable[[str], None]) -> None:
        self._home = home
        self._plan = plan
        self._say = say
        self._kept: dict[str, _Kept] = {}
        self._news: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._ending = False
        self._state = StackState.STARTING
        self._prepared: set[str] = set()
        self._preparation: Child | None = None
        self._failure: str | None = None
        self._published: Status | None = None
        health = {program.name: program.health for program in plan.programs if program.health is not None}
        self._watch = Watch(health, lambda name, well: self._news.put(lambda: self._heard(name, well)))

    def run(self) -> int:
        """Start, keep and end the stack: 0 ended on request, 1 could not start (the status says why)."""
        self._end_leftovers()
        began = time.monotonic()
        with self._signals():
            try:
                self._start()
                while not self._ending and self._failure is None:
                    self._wait()
                    self._look_after()
                    if self._state is StackState.STARTING:
                        self._judge_start(began)
                    else:
                        self._judge()
                    self._publish()
            except (OSError, Broken, subprocess.SubprocessError) as error:
                self._failure = str(error)
            finally:
                self._end()
        return 0 if self._failure is None else 1

    def _start(self) -> None:
        """Start everything that need not wait; the preparation waits for the services itself."""
        database = self._plan.database
        for program in self._plan.services:
            if program.name != postgres.NAME:
                self._launch(program)
        self._prepare()
        if database is not None and postgres.initialise(database):
            self._say("made a new database")
        for program in self._plan.services:
            if program.name == postgres.NAME:
                self._launch(program)
        for program in self._plan.functions:
            self._launch(program)
        self._watch.start()

    def _launch(self, program: Program) -> None:
        kept = self._kept.setdefault(program.name, _Kept(program))
        kept.child = Child(program)
        kept.due, kept.well, kept.silent_looks, kept.silent_since = None, False, 0, None
        kept.since = kept.child.since
        self._publish()
        self._watch.hurry()

    def _prepare(self) -> None:
        """Run the preparation and listen to what it finishes."""
        read, write = os.pipe()
        program = self._plan.preparation
        told = replace(program, env={**program.env, "PREPARE_REPORT": str(write)})
        self._preparation = Child(told, pass_fds=(write,))
        os.close(write)

        def listen() -> None:
            with os.fdopen(read, encoding="utf-8") as lines:
                for line in lines:
                    report = json.loads(line)
                    self._news.put(lambda report=report: self._reported(report))  # type: ignore[misc]

        threading.Thread(target=listen, name="preparation", daemon=True).start()
        self._publish()

    def _reported(self, report: dict[str, str]) -> None:
        if "failed" in report:
            self._failure = report["failed"]
            return
        self._prepared.add(report["done"])
        self._say(f"ready: {report['done']}")
        if report["done"] == "migrations" and self._plan.broker is not None:
            self._launch(self._plan.broker)

    def _heard(self, name: str, well: bool) -> None:
        """Note an answer, or its absence, to a look at a process."""
        kept = self._kept.get(name)
        if kept is None or kept.child is None:
            return
        if well:
            if not kept.well and self._state is StackState.STARTING:
                self._say(f"ready: {name}")
            kept.well, kept.silent_looks, kept.silent_since = True, 0, None
            return
        kept.silent_looks += 1
        kept.silent_since = kept.silent_since or time.monotonic()
        if kept.well and kept.silent_looks >= UNHEALTHY_LOOKS:
            kept.well = False

    def _wait(self) -> None:
        """Sleep until there is news, at most a second, and take all of it."""
        try:
            news = self._news.get(timeout=self._patience())
            while True:
                news()
                news = self._news.get_nowait()
        except queue.Empty:
            return

    def _patience(self) -> float:
        now = time.monotonic()
        longest = 0.2 if self._state is StackState.STARTING else 1.0
        return min([longest, *(max(0.01, kept.due - now) for kept in self._kept.values() if kept.due is not None)])

    def _look_after(self) -> None:
        """Notice what ended, start what is due, and end what has been silent for too long."""
        now = time.monotonic()
        for kept in self._kept.values():
            if kept.child is not None and (status := kept.child.poll()) is not None:
                self._crashed(kept, status)
            elif kept.due is not None and now >= kept.due:
                kept.restarts += 1
                self._launch(kept.program)
            elif kept.child is not None and kept.silent_since and now - kept.silent_since > UNHEALTHY_SECONDS:
                self._say(f"{kept.program.name} does not answer; ended")
                kept.silent_since = now
                kept.child.identity.signal(signal.SIGKILL)
        if self._preparation is not None and (status := self._preparation.poll()) is not None:
            self._preparation = None
            if status != 0 and self._failure is None:
                self._wait()
                tail = log_tail(self._plan.preparation.log)
                self._failure = self._failure or f"the preparation ended with status {status}\n{tail}"

    def _crashed(self, kept: _Kept, status: int) -> None:
        """Have a process that ended started again, later each time; what it had started ends with it."""
        assert kept.child is not None
        lived = time.time() - kept.since
        kept.crashes = 1 if lived > STEADY_AFTER else kept.crashes + 1
        stop([(kept.child.identity, signal.SIGKILL)], 0)
        kept.child, kept.well = None, False
        kept.due = time.monotonic() + restart_delay(kept.crashes)
        kept.since = time.time()
        self._say(f"{kept.program.name} ended with status {status}; starting it again")
        if self._state is StackState.STARTING and kept.crashes >= GIVE_UP_AFTER:
            self._failure = f"{kept.program.name} does not stay up\n{log_tail(kept.program.log)}"

    def _judge_start(self, began: float) -> None:
        expected = {program.name for program in self._plan.programs}
        up = {name for name, kept in self._kept.items() if kept.state is ProcessState.RUNNING}
        if self._preparation is None and self._failure is None and expected <= up:
            self._state = StackState.RUNNING
            self._say(f"running after {time.monotonic() - began:.1f} s")
        elif time.monotonic() - began > START_SECONDS:
            missing = ", ".join(sorted(expected - up)) or "the preparation"
            self._failure = f"not ready after {START_SECONDS:.0f} s: {missing}"

    def _judge(self) -> None:
        well = all(kept.state is ProcessState.RUNNING for kept in self._kept.values())
        state = StackState.RUNNING if well else StackState.DEGRADED
        if state is not self._state:
            self._state = state
            self._say(f"now {state}")

    def _end(self) -> None:
        """Ask all to end, kill what does not, and say so."""
        failed = self._failure is not None
        self._state = StackState.FAILED if failed else StackState.STOPPING
        self._publish()
        self._watch.end()
        children = [kept.child for kept in self._kept.values() if kept.child is not None]
        if self._preparation is not None:
            children.append(self._preparation)
        killed = stop([(child.identity, child.program.stop_signal) for child in children], STOP_SECONDS)
        for child in children:
            child.poll()
        for kept in self._kept.values():
            kept.child = None
        self._preparation = None
        self._kept.clear()
        self._state = StackState.FAILED if failed else StackState.STOPPED
        self._publish()
        self._say(f"stopped{f', {killed} killed' if killed else ''}")

    def _end_leftovers(self) -> None:
        """End what a supervisor that was killed left running; only called while the home's lock is held."""
        left = [(process.identity, process.stop_signal) for process in read_status(self._home).processes]
        if left:
            self._say(f"ending {len(left)} processes that an earlier stack left behind")
            stop(left, STOP_SECONDS)

    def _publish(self) -> None:
        processes = [self._line(kept) for kept in self._kept.values() if kept.child is not None]
        crashed = [self._line(kept) for kept in self._kept.values() if kept.child is None]
        if self._preparation is not None:
            processes.append(self._line(_Kept(self._plan.preparation, self._preparation)))
        me = Identity.of(os.getpid())
        status = Status(
            state=self._state,
            boot=boot(),
            supervisor=(me.pid, me.started) if me is not None else None,
            urls={} if self._state in (StackState.STOPPED, StackState.FAILED) else dict(self._plan.urls),
            processes=tuple(sorted([*processes, *crashed], key=lambda line: line.name)),
            reason=self._failure,
        )
        if status != self._published:
            write_status(self._home, status)
            self._published = status

    def _line(self, kept: _Kept) -> ProcessStatus:
        identity = kept.child.identity if kept.child is not None else Identity(0, 0)
        return ProcessStatus(
            name=kept.program.name,
            pid=identity.pid,
            started=identity.started,
            state=kept.state,
            restarts=kept.restarts,
            since=moment(kept.since),
            stop_signal=kept.program.stop_signal,
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the stack, SIGCHLD wakes us."""

        def end(_number: int, _frame: FrameType | None) -> None:
            self._ending = True
            self._news.put(lambda: None)

        def wake(_number: int, _frame: FrameType | None) -> None:
            self._news.put(lambda: None)

        before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, wake)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
