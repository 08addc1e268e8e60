"""The Dockerfile's own commands, run in a directory tree without an engine; a function is started from the result."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.conftest import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = REPOSITORY / "infra" / "container" / "Dockerfile"
PLACES = re.compile(r"(?<![\w.:/])/(build|opt/perdura|source|wheel|sbom\.cdx\.json)\b")
INSTALLING_SECONDS = 110
NO_INDEX = re.compile(r"from versions: none|ConnectionError|Failed to establish|Read timed out", re.IGNORECASE)


def build_stage() -> list[tuple[str, str]]:
    """(instruction, arguments) of the first stage."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
    [stage, *_] = re.findall(r"^FROM .*? AS build\n(.*?)^FROM ", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in stage.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2]) for line in lines]


def placed(root: Path, text: str) -> str:
    """The same command, with the places of the image below `root`."""
    return PLACES.sub(lambda match: f"{root}/{match[1]}", text)


def copied(root: Path, arguments: str) -> None:
    *sources, target = arguments.split()
    folder = Path(placed(root, target)) if target.startswith("/") else root / "source" / target
    for source in sources:
        origin = REPOSITORY / source
        if origin.is_dir():
            shutil.copytree(origin, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            into = folder / origin.name if target.endswith("/") else folder
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, into)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree that the build stage makes; skips where no package index answers within the time."""
    root = tmp_path_factory.mktemp("image")
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    (root / "source").mkdir()
    ends = time.monotonic() + INSTALLING_SECONDS
    compilers = dict.fromkeys(("CC", "CXX", "LD", "RUSTC"), "/no-compiler")
    environment = {**os.environ, **compilers, "PATH": f"{root}/bin:/usr/bin:/bin", "PYTHONPATH": ""}
    for name, arguments in build_stage():
        match name:
            case "ENV":
                environment |= dict(pair.split("=", 1) for pair in arguments.split())
            case "COPY":
                copied(root, arguments)
            case "RUN":
                run(root, placed(root, arguments), environment, ends - time.monotonic())
    return root


def run(root: Path, command: str, environment: dict[str, str], seconds: float) -> None:
    try:
        done = subprocess.run(
            ["sh", "-c", command], cwd=root / "source", env=environment, capture_output=True, text=True,
            timeout=max(seconds, 1),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("the packages were not there in time: is there a package index?")
    said = done.stdout + done.stderr
    if done.returncode and NO_INDEX.search(said):
        pytest.skip(f"no package index answers: {said[-300:]}")
    assert done.returncode == 0, said[-3000:]


def test_everything_is_compiled_and_nothing_is_linked_to_the_source(image: Path) -> None:
    packages = next((image / "opt/perdura/lib").glob("python3.*")) / "site-packages"
    module = packages / "perdura" / "runtime" / "delivery.py"
    assert module.is_file()
    assert not list(packages.glob("*editable*"))
    compiled = list(module.parent.joinpath("__pycache__").glob("delivery.*.pyc"))
    assert compiled
    flags = int.from_bytes(compiled[0].read_bytes()[4:8], "little")
    assert flags == 1, "by hash and unchecked: valid whatever the times of the files become in the image"
    assert (image / "sbom.cdx.json").stat().st_size > 10_000
    assert not (image / "opt/perdura/bin/pip").exists()


def test_a_function_starts_from_it(image: Path) -> None:
    port = free_port()
    container = image / "opt/perdura/container"
    environment = {"PATH": f"{image}/opt/perdura/bin:/usr/bin:/bin", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"FUNCTION": "ingest", "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [image / "opt/perdura/bin/python", container / "start.py", "serve"], cwd=container, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        status = answered(port)
        assert status == 200, process.stdout.read() if process.poll() is not None and process.stdout else "no answer"
    finally:
        process.terminate()
        process.communicate(timeout=20)


def answered(port: int) -> int | None:
    """The status of `/healthz`, None where nobody answers within the time."""
    end = time.monotonic() + 40
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=30).status_code
        except (OSError, httpx.TransportError):
            time.sleep(0.2)
    return None
