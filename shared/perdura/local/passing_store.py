"""An object store for the length of a block: for tests and benchmarks, gone with all it held."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perdura.errors import Broken, PerduraError
from perdura.local import ports, seaweedfs
from perdura.local.state import open_home
from perdura.settings import Settings
from perdura.storage import buckets
from perdura.storage.s3 import S3Store

_SECONDS_TO_START = 60
_SECONDS_TO_STOP = 15


@contextmanager
def passing_store(folder: Path | None = None) -> Iterator[Settings]:
    """Settings that reach a store of our own with its buckets made; its state goes below `folder`.

    Raises Broken where SeaweedFS is not installed or does not start.
    """
    binary = seaweedfs.find_binary()
    # Unix sockets have short names, so the state lies right below the folder.
    root = Path(tempfile.mkdtemp(prefix="perdura-weed-", dir=folder))
    try:
        home = open_home(root)
        sockets = root / "run"
        sockets.mkdir()
        port = ports.choose((), seaweedfs.NAME, {})[seaweedfs.NAME]
        server = seaweedfs.Server(home, port, sockets, binary)
        seaweedfs.configure(server, None)
        program = seaweedfs.program(server)
        settings = Settings.model_validate(
            {"s3_endpoint": server.endpoint, "s3_access_key": seaweedfs.ACCESS_KEY, "s3_secret_key": home.secret("s3")}
        )
        with program.log.open("wb") as log:
            process = subprocess.Popen(
                program.argv, cwd=program.cwd, env=dict(program.env), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        try:
            _await(process, settings)
            yield settings
        finally:
            _stop(process)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _await(process: subprocess.Popen[bytes], settings: Settings) -> None:
    """An open port says nothing (embedded-services.md 2.2): wait for a bucket and a real PUT."""
    store = S3Store(settings)
    end = time.monotonic() + _SECONDS_TO_START
    try:
        while True:
            try:
                buckets.create(settings)
                if store.read(store.put(settings.bucket_incoming, "ready", b"ready").info.ref) == b"ready":
                    return
            except PerduraError:
                if process.poll() is not None or time.monotonic() > end:
                    raise Broken("the object store did not start", code="no-object-store") from None
            time.sleep(0.1)
    finally:
        store.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
