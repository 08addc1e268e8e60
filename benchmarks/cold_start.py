"""Cold start of every function: from the start of its process to its first 2xx answer.

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

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print("| function | median | slowest | to reach |")
    print("|---|---|---|---|")
    for folder in sorted(FUNCTIONS.iterdir()):
        if (folder / "main.py").exists():
            times = [cold_start(folder / "main.py") for _ in range(runs + 1)][1:]
            print(f"| {folder.name} | {statistics.median(times):.2f} s | {max(times):.2f} s | < 1 s |")


def cold_start(main_file: Path) -> float:
    """Seconds from the start of the process to the first 2xx of `/healthz`."""
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
                        return time.perf_counter() - begun
            except (urllib.error.URLError, OSError):
                time.sleep(0.005)
        raise SystemExit(f"{main_file} did not answer")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(15)


if __name__ == "__main__":
    main()
