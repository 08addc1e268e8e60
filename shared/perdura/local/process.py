"""Processes that we start: known by PID and start time, each in a session of its own (embedded-services.md Part 3).

A PID alone may belong to a stranger tomorrow; with the start time of `/proc/PID/stat` it cannot, and a signal sent
through a pidfd reaches that process or none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
LOG_LIMIT = 16 * 2**20
"""Bytes after which the log of a process is set aside when the process is started again."""


def boot() -> str:
    """Which boot of the machine this is: start times are counted from it."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for ever: its PID and the clock tick (since boot) at which it started."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this PID now; None where there is none, or only a zombie."""
        stat = _stat(pid)
        return None if stat is None or stat.zombie else cls(pid, stat.started)

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def signal(self, number: int) -> bool:
        """Send a signal; False where the process is gone or not ours."""
        try:
            handle = os.pidfd_open(self.pid)
        except OSError:
            return False
        try:
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except (ProcessLookupError, PermissionError):
            return False
        finally:
            os.close(handle)
        return True


@dataclass(frozen=True, slots=True)
class _Stat:
    session: int
    zombie: bool
    started: int


def _stat(pid: int) -> _Stat | None:
    """Fields 3, 6 and 22 of `/proc/PID/stat`; the name in field 2 may hold spaces and parentheses."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return _Stat(session=int(fields[3]), zombie=fields[0] in "ZX", started=int(fields[19]))
    except (OSError, IndexError, ValueError):
        return None


def session_of(leader: Identity) -> list[Identity]:
    """Every process in the session that `leader` opened, also when the leader itself is gone.

    Empty where its PID has since been given to somebody else.
    """
    now = _stat(leader.pid)
    if leader.pid <= 1 or (now is not None and now.started != leader.started):
        return []
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            same = stat.session == leader.pid and stat.started >= leader.started
            if same and not stat.zombie:
                found.append(Identity(int(entry.name), stat.started))
    return found


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: everything a process gets, and how it is asked to end.

    `env` is the whole environment (nothing is inherited); `health` a URL that answers 2xx while all is well.
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    health: str | None = None


class Child:
    """A running program; `poll()` also reaps it."""

    def __init__(self, program: Program, pass_fds: tuple[int, ...] = ()) -> None:
        """Start it, with these file descriptors open. Raises OSError where the executable cannot be run."""
        self.program = program
        self.since = time.time()
        _set_aside(program.log)
        with program.log.open("ab") as log:
            self._popen = subprocess.Popen(
                program.argv,
                cwd=program.cwd,
                env=dict(program.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
                umask=0o077,
            )
        started = _stat(self._popen.pid)
        self.identity = Identity(self._popen.pid, started.started if started is not None else 0)

    def poll(self) -> int | None:
        """The exit status (negative: the signal that ended it), or None while it runs."""
        return self._popen.poll()


def _set_aside(log: Path) -> None:
    """Keep one older log, so that a process that crashes for ever does not fill the disk."""
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.old"))
    log.touch(mode=0o600)


def stop(leaders: Iterable[tuple[Identity, int]], grace: float) -> int:
    """End processes and whatever they started: (identity, its stop signal). Returns how many had to be killed.

    All are asked at once; after `grace` seconds what remains in their sessions is killed.
    """
    leaders = list(leaders)
    for identity, number in leaders:
        identity.signal(number)
    deadline = time.monotonic() + grace
    while any(identity.alive() for identity, _ in leaders) and time.monotonic() < deadline:
        _reap(identity for identity, _ in leaders)
        time.sleep(0.02)
    killed = 0
    for identity, _ in leaders:
        for member in session_of(identity):
            killed += member.signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(session_of(identity) for identity, _ in leaders) and time.monotonic() < deadline:
        _reap(identity for identity, _ in leaders)
        time.sleep(0.02)
    return killed


def _reap(identities: Iterable[Identity]) -> None:
    """Collect those that are our own children; others belong to another parent."""
    for identity in identities:
        try:
            os.waitpid(identity.pid, os.WNOHANG)
        except ChildProcessError:
            continue
