"""A function as it stands ready in an installation, behind its real server, and the memory that a process took."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"
START_SECONDS = 60


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(function: str, environment: Mapping[str, str], *, access_log: bool = False) -> Iterator[tuple[str, int]]:
    """The function behind gunicorn with its own configuration: its address, and the process id of its worker.

    The address is its `PERDURA_BASE_URL` too. With `access_log` requests are logged, to nowhere. Raises SystemExit when
    it does not answer.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    told = {
        **os.environ, "FUNCTION": function, "HOST": "127.0.0.1", "PORT": str(port), "PERDURA_BASE_URL": address,
        "ACCESS_LOG": "on" if access_log else "off", **environment,
    }  # fmt: skip
    command = [
        sys.executable, "-m", "gunicorn", "-c", "python:perdura.runtime.server",
        f"functions_framework:create_app('handle','{FUNCTIONS / function / 'main.py'}','http')",
    ]  # fmt: skip
    errors = subprocess.DEVNULL if access_log else None
    process = subprocess.Popen(command, env=told, stderr=errors, start_new_session=True)
    try:
        _await(address, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield address, int(children[0])
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _await(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"{address}/healthz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise SystemExit("the function does not answer")


def peak(process: int | str = "self") -> float:
    """Peak resident memory of a process in MiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
