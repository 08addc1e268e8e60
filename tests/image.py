"""The image without an engine: the Dockerfile's own commands run in a directory tree, and functions started from it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.conftest import free_port

REPOSITORY = Path(__file__).resolve().parents[1]
DOCKERFILE = REPOSITORY / "infra" / "container" / "Dockerfile"
FUNCTIONS = tuple(sorted(main.parent.name for main in (REPOSITORY / "functions").glob("*/main.py")))
PLACES = re.compile(r"(?<![\w.:/])/(build|opt/perdura|source|wheel|sbom\.cdx\.json)\b")
NO_INDEX = re.compile(r"from versions: none|ConnectionError|Failed to establish|Read timed out", re.IGNORECASE)
QUIET_SECONDS = 0.4
"""A function is idle when it has used no processor for so long."""


class NoPackages(Exception):
    """No package index answers, or not within the time."""


def build_image(root: Path, seconds: float) -> None:
    """Do what the build stage does, below `root`. Raises NoPackages, and AssertionError where a command fails."""
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    (root / "source").mkdir()
    ends = time.monotonic() + seconds
    compilers = dict.fromkeys(("CC", "CXX", "LD", "RUSTC"), "/no-compiler")
    environment = {**os.environ, **compilers, "PATH": f"{root}/bin:/usr/bin:/bin", "PYTHONPATH": ""}
    for name, arguments in _build_stage():
        match name:
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in arguments.split())
            case "COPY":
                _copy(root, arguments)
            case "RUN":
                _run(root, _placed(root, arguments), environment, ends - time.monotonic())


def _build_stage() -> list[tuple[str, str]]:
    """(instruction, arguments) of the first stage."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    [stage, *_] = re.findall(r"^FROM .*? AS build\n(.*?)^FROM ", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in stage.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def _placed(root: Path, text: str) -> str:
    """The same command, with the places of the image below `root`."""
    return PLACES.sub(lambda match: f"{root}/{match[1]}", text)


def _copy(root: Path, arguments: str) -> None:
    *sources, target = arguments.split()
    folder = Path(_placed(root, target)) if target.startswith("/") else root / "source" / target
    for source in sources:
        origin = REPOSITORY / source
        if origin.is_dir():
            shutil.copytree(origin, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            into = folder / origin.name if target.endswith("/") else folder
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, into)


def _run(root: Path, command: str, environment: dict[str, str], seconds: float) -> None:
    try:
        done = subprocess.run(
            ["sh", "-c", command], cwd=root / "source", env=environment, capture_output=True, text=True,
            timeout=max(seconds, 1),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoPackages("the packages were not there in time: is there a package index?") from None
    said = done.stdout + done.stderr
    if done.returncode and NO_INDEX.search(said):
        raise NoPackages(f"no package index answers: {said[-300:]}")
    assert done.returncode == 0, said[-3000:]


@dataclass(frozen=True)
class Started:
    """A function that has answered its first probe: when, at what cost, and how large it is when idle."""

    seconds: float
    """From the start of its process to its first 2xx answer."""
    cpu: float
    """Seconds of processor until then: what `seconds` is on a machine that does nothing else, nearly."""
    worker: int
    """Resident bytes of gunicorn's worker when idle, with what it imports after the first answer."""
    arbiter: int
    """Bytes that gunicorn's arbiter holds besides the pages that it shares with the worker."""

    @property
    def memory(self) -> int:
        """Bytes of both, each page counted once."""
        return self.worker + self.arbiter


@contextmanager
def served(root: Path, function: str, log: Path, seconds: float = 40) -> Iterator[Started]:
    """A function served by the image below `root` as the container serves it, ended afterwards whatever happens.

    Raises AssertionError with the end of its log where it does not answer within `seconds`.
    """
    port = free_port()
    home = root / "opt/perdura"
    environment = {**_image_environment(root), "FUNCTION": function, "HOST": "127.0.0.1", "PORT": str(port)}
    with log.open("wb") as output:
        begun = time.perf_counter()
        process = psutil.Popen(
            [home / "bin/python", home / "container/start.py", "serve"], cwd=home / "container", env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            _first_answer(process, f"http://127.0.0.1:{port}/healthz", begun + seconds, log)
            took, cpu = time.perf_counter() - begun, _processor(process)
            _become_idle(process, begun + seconds)
            [worker] = process.children()
            yield Started(took, cpu, worker.memory_info().rss, process.memory_full_info().uss)
        finally:
            _end(process)


def _image_environment(root: Path) -> dict[str, str]:
    """What the last stage of the Dockerfile sets."""
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    pairs = [pair for line in re.findall(r"^ENV (.*)$", last, re.MULTILINE) for pair in line.split()]
    return {name: _placed(root, value) for name, _, value in (pair.partition("=") for pair in pairs)}


def _first_answer(process: psutil.Popen, url: str, end: float, log: Path) -> None:
    with httpx.Client() as client:
        while time.perf_counter() < end and process.poll() is None:
            try:
                if client.get(url, timeout=max(end - time.perf_counter(), 0.1)).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.005)
    raise AssertionError(f"no answer; its log ends with {log.read_text('utf-8', 'replace')[-2000:]}")


def _processor(process: psutil.Popen) -> float:
    """Seconds of processor that a process and those below it have used."""
    times: list[Any] = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def _become_idle(process: psutil.Popen, end: float) -> None:
    used, since = _processor(process), time.perf_counter()
    while time.perf_counter() < end and time.perf_counter() - since < QUIET_SECONDS:
        time.sleep(0.05)
        if (now := _processor(process)) != used:
            used, since = now, time.perf_counter()


def _end(process: psutil.Popen) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except psutil.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
