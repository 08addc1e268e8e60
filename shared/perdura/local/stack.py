"""What the commands `up`, `down` and `reset` do to the stack of a home."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from perdura.errors import Broken, Conflict
from perdura.local.process import Identity, stop
from perdura.local.state import Home, Lock
from perdura.local.status import StackState, Status, log_tail, read_status, write_status
from perdura.local.supervisor import START_SECONDS, STOP_SECONDS, Supervisor

SUPERVISOR_LOG = "supervisor"
_STAMPED = re.compile(r"\d\d:\d\d:\d\d  ")
"""How a line of progress begins in the supervisor's log, unlike a warning or the reason of its end."""
Say = Callable[[str], None]


def run(home: Home, say: Say, *, services_only: bool = False) -> int:
    """Run the stack in this process until it is asked to end; 0, or 1 where it could not start.

    `services_only` leaves out functions and broker: database and object store, ready for use.
    Raises Conflict where it already runs, Broken where something needed is missing.
    """
    from perdura.local.assets import functions, functions_folder
    from perdura.local.plan import make_plan

    lock = Lock(home)
    if not lock.acquire():
        raise already_runs(home)
    try:
        plan = make_plan(home, functions(functions_folder()))
        return Supervisor(home, plan.services_alone() if services_only else plan, say).run()
    except Broken as error:
        write_status(home, Status(state=StackState.FAILED, reason=error.message))
        raise
    finally:
        lock.release()


def detach(home: Home, say: Say, *, services_only: bool = False) -> Status:
    """Start the stack in the background (as `run` does) and return when it is ready.

    Raises Conflict where it already runs, Broken with the reason and the end of the log where it does not start.
    """
    lock = Lock(home)
    if not lock.acquire():
        raise already_runs(home)
    lock.release()
    log = home.log(SUPERVISOR_LOG)
    log.touch(mode=0o600)
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", "perdura.cli", "--home", str(home.root), "up"]
            + (["--services-only"] if services_only else []),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    told = 0
    deadline = time.monotonic() + START_SECONDS + STOP_SECONDS + 10
    while time.monotonic() < deadline:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        for line in lines[told:]:
            if _STAMPED.match(line):
                say(line)
        told = len(lines)
        ended = started.poll()
        status = read_status(home)
        if ended is not None:
            raise Broken(f"the stack did not start: {status.reason or log_tail(log)}")
        ours = status.supervisor is not None and status.supervisor[0] == started.pid
        if ours and status.state in (StackState.RUNNING, StackState.DEGRADED):
            return status
        time.sleep(0.05)
    raise Broken(f"the stack is not ready\n{log_tail(log)}")


def already_runs(home: Home) -> Conflict:
    """The refusal of a second start."""
    supervisor = read_status(home).supervisor
    pid = f" (process {supervisor[0]})" if supervisor is not None else ""
    return Conflict(f"the stack of {home.root} already runs{pid}", code="already-running")


def down(home: Home) -> bool:
    """End the stack and everything it started; False where nothing ran.

    Raises Broken where a process is still there afterwards.
    """
    status = read_status(home)
    known = [(process.identity, process.stop_signal) for process in status.processes if process.pid]
    supervisor = Identity(*status.supervisor) if status.supervisor is not None else None
    if supervisor is not None:
        supervisor.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS + 8
        while supervisor.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        known.append((supervisor, signal.SIGKILL))
    if not known:
        return False
    stop(known, STOP_SECONDS if supervisor is None else 0)
    left = [str(identity.pid) for identity, _ in known if identity.alive()]
    if left:
        raise Broken(f"still running: {', '.join(left)}")
    return True


def reset(home: Home) -> None:
    """Remove everything the stack keeps. Raises Conflict while it runs."""
    lock = Lock(home)
    if not lock.acquire():
        raise already_runs(home)
    sockets = Path(_sockets(home))
    if sockets.parent != home.root and sockets.is_dir() and sockets.stat().st_uid == os.geteuid():
        shutil.rmtree(sockets)
    shutil.rmtree(home.root)
    lock.release()


def _sockets(home: Home) -> str:
    from perdura.local.state import read_json

    return str(read_json(home.state_file).get("sockets", home.root / "run"))
