from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perdura.local import process
from perdura.local.process import Child, Identity, Program


def wait_for(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[str], Child]]:
    children: list[Child] = []

    def start(code: str) -> Child:
        program = Program("it", (sys.executable, "-c", code), tmp_path, tmp_path / "it.log", {"ONLY": "this"})
        children.append(Child(program))
        return children[-1]

    yield start
    process.stop([(child.identity, signal.SIGKILL) for child in children], 0)
    for child in children:
        child.poll()


def test_this_process_is_known() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    assert me.alive()


def test_a_pid_with_another_start_time_is_somebody_else() -> None:
    me = Identity.of(os.getpid())
    assert me is not None
    stranger = Identity(me.pid, me.started + 1)
    assert not stranger.alive()
    assert not stranger.signal(signal.SIGTERM)
    assert process.session_of(stranger) == []


def test_what_has_ended_is_not_alive() -> None:
    ended = subprocess.Popen(["true"])
    identity = Identity.of(ended.pid)
    ended.wait()
    assert Identity.of(ended.pid) is None
    assert identity is None or not identity.alive()


def test_the_kernel_is_nobodys_child() -> None:
    assert process.session_of(Identity(0, 0)) == []
    assert not Identity(0, 0).signal(signal.SIGTERM)


def test_a_child_has_only_the_environment_it_was_given(run: Callable[[str], Child]) -> None:
    child = run("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}), os.getsid(0) == os.getpid())")
    wait_for(lambda: child.poll() is not None)
    assert child.program.log.read_text() == "['ONLY'] True\n"


def test_a_childs_files_are_private(run: Callable[[str], Child], tmp_path: Path) -> None:
    child = run("open('made', 'w')")
    wait_for(lambda: child.poll() is not None)
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


def test_stopping_ends_what_a_process_started(run: Callable[[str], Child]) -> None:
    child = run("import subprocess, time; subprocess.Popen(['sleep', '600']); time.sleep(600)")
    wait_for(lambda: len(process.session_of(child.identity)) == 2)
    members = process.session_of(child.identity)
    process.stop([(child.identity, signal.SIGTERM)], 5)
    assert not any(member.alive() for member in members)


def test_what_ignores_the_request_is_killed(run: Callable[[str], Child]) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(600)"
    child = run(code)
    wait_for(lambda: child.program.log.read_text())
    assert process.stop([(child.identity, signal.SIGTERM)], 0.2) == 1
    assert not child.identity.alive()


def test_a_long_log_is_set_aside(run: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 3)
    first = run("print('first')")
    wait_for(lambda: first.poll() is not None)
    second = run("print('second')")
    wait_for(lambda: second.poll() is not None)
    log = second.program.log
    assert log.read_text() == "second\n"
    assert log.with_suffix(".log.old").read_text() == "first\n"
