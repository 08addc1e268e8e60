"""Cold start of every function: from the start of its process to its first 2xx answer; and its memory when idle.

Memory is the resident set of the worker and of gunicorn's arbiter together, a second after that answer, when what only
real requests need was imported too.

python benchmarks/cold_start.py [--runs 5]
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil

MIB = 1 << 20
FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print("| function | median | slowest | to reach | idle RSS, worker + arbiter | to reach |")
    print("|---|---|---|---|---|---|")
    for folder in sorted(FUNCTIONS.iterdir()):
        if (folder / "main.py").exists():
            measured = [cold_start(folder / "main.py") for _ in range(runs + 1)][1:]
            times = [seconds for seconds, _ in measured]
            worker, arbiter = max(rss for _, rss in measured)
            print(
                f"| {folder.name} | {statistics.median(times):.2f} s | {max(times):.2f} s | < 1 s "
                f"| {worker / MIB:.0f} + {arbiter / MIB:.0f} MiB | ≤ 120 MiB |"
            )


def cold_start(main_file: Path) -> tuple[float, tuple[int, int]]:
    """Seconds from the start of the process to the first 2xx of `/healthz`; resident bytes of worker and arbiter."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "gunicorn", "-c", "python:perdura.runtime.server",
        f"functions_framework:create_app('handle','{main_file}','http')",
    ]  # fmt: skip
    environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "FUNCTION": main_file.parent.name}
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while time.perf_counter() - begun < 30:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
                    if answer.status < 300:
                        seconds = time.perf_counter() - begun
                        time.sleep(1.5)
                        return seconds, resident(process.pid)
            except (urllib.error.URLError, OSError):
                time.sleep(0.005)
        raise SystemExit(f"{main_file} did not answer")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)


def resident(pid: int) -> tuple[int, int]:
    """Resident bytes of the workers below a process, and of the process itself."""
    process = psutil.Process(pid)
    return sum(child.memory_info().rss for child in process.children(recursive=True)), process.memory_info().rss


if __name__ == "__main__":
    main()
