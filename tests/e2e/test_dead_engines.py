"""A dead database, store or broker, and a full disk: said plainly, nothing lost, everything done once it is back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from perdura.local.state import open_home
from perdura.local.status import read_status
from tests.stack import Stack, bag_tar, running_stack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

BACK_SECONDS = 120
"""How long a killed engine may take to be there again on a machine that others use too."""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack() as stack:
        yield stack


@contextmanager
def dead(stack: Stack, name: str) -> Iterator[None]:
    """Kill a process and keep its supervisor from starting it again until the end."""
    victim = stack.pid(name)
    known = read_status(open_home(stack.home)).supervisor
    assert known is not None
    supervisor = known[0]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        os.kill(victim, signal.SIGKILL)
        yield
    finally:
        os.kill(supervisor, signal.SIGCONT)
        stack.until(lambda: _again(stack, name, victim), BACK_SECONDS, lambda: str(stack.status()))
        stack.until(lambda: stack.status()["state"] == "running" or None, BACK_SECONDS, lambda: str(stack.status()))


def _again(stack: Stack, name: str, victim: int) -> bool | None:
    """Whether its supervisor has noticed, and another process runs in its place."""
    pids = {process["name"]: process["pid"] for process in stack.status()["processes"]}
    return pids[name] not in (victim, None, 0) or None


def test_a_dead_database(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "bag.tar"
    path.write_bytes(bag_tar({"a.txt": b"database"}))
    waiting = stack.deposit(bag_tar({"a.txt": b"under way"}))
    with dead(stack, "postgres"):
        answer = stack.until(lambda: _unavailable(stack), 30)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert "database" in answer.text.lower()
        assert "postgresql" not in answer.text
        done = stack.command("deposit", str(path))
        assert done.returncode != 0
        assert "database" in (done.stdout + done.stderr).lower()
    assert stack.finished(waiting, 240)["state"] == "completed", stack.steps(waiting)
    again = stack.command("deposit", str(path), "--watch")
    assert again.returncode == 0, again.stdout + again.stderr


def _unavailable(stack: Stack) -> httpx.Response | None:
    answer = stack.api.get("/archives")
    return answer if answer.status_code == 503 else None


def test_a_dead_store(stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "bag.tar"
    path.write_bytes(bag_tar({"a.txt": b"store"}))
    with dead(stack, "seaweedfs"):
        done = stack.command("deposit", str(path))
        assert done.returncode != 0
        assert "upload" in (done.stdout + done.stderr).lower()
    again = stack.command("deposit", str(path), "--watch")
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_store_that_dies_in_mid_work_shows_in_the_timeline(stack: Stack) -> None:
    with dead(stack, "seaweedfs"):
        archive = str(stack.api.post("/harvests", json={"url": _record(stack)}).json()["archive"])
        error = stack.until(lambda: stack.steps(archive)[0]["error"], 60)
        assert error["code"].startswith("store-")
    assert stack.finished(archive, 240)["state"] == "completed", stack.steps(archive)


def test_a_dead_broker(stack: Stack) -> None:
    with dead(stack, "broker"):
        archive = stack.deposit(bag_tar({"a.txt": b"broker"}))
        assert stack.archive(archive)["state"] == "queued"
    assert stack.finished(archive, 240)["state"] == "completed", stack.steps(archive)


def _record(stack: Stack) -> str:
    return f"{stack.urls['upstream']}/records/3kf7w-x2p61"


def test_a_full_disk(tmp_path: Path) -> None:
    home = tmp_path / "home"
    disk = home / "data" / "seaweedfs"
    disk.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16g,mode=0700", "tmpfs", disk], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted here (needs root)")
    try:
        with running_on(home) as stack:
            archive = stack.deposit(bag_tar({"a.bin": os.urandom(30 << 20)}))
            _resize(disk, full=True)
            error = stack.until(
                lambda: next((step["error"] for step in stack.steps(archive) if step["error"]), None), 90
            )
            assert error["code"] in {"store-full", "store-unavailable"}
            _resize(disk, full=False)
            assert stack.finished(archive, 240)["state"] == "completed", stack.steps(archive)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=False)


@contextmanager
def running_on(home: Path) -> Iterator[Stack]:
    stack = Stack(home)
    stack.up()
    try:
        yield stack
    finally:
        stack.api.close()
        stack.down()


def _resize(disk: Path, *, full: bool) -> None:
    """Shrink the disk to what is on it, or give it back its room."""
    used = shutil.disk_usage(disk).used
    size = f"{used // 1024 + 64}k" if full else "16g"
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
