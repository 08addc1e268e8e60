"""Servers that contract tests run against; each is started once per test session and stopped by its process."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from perdura.errors import Broken
from perdura.local.passing_store import passing_store
from perdura.settings import Settings
from perdura.storage import buckets
from tests.contract.delivering import harness  # noqa: F401 - a fixture of several files
from tests.contract.s3_peers import like_aws, like_minio
from tests.shared_data import SHARED
from tests.upstreams.server import Upstream, serving


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Settings]:
    """Settings that reach an object store of this test session, its buckets made."""
    try:
        with passing_store() as settings:
            yield settings
    except Broken as error:
        pytest.skip(f"no object store here: {error.message}")


@pytest.fixture(scope="session")
def aws() -> Iterator[Settings]:
    """A server like AWS, of this test session."""
    with tempfile.TemporaryDirectory(prefix="perdura-aws-") as folder, like_aws(Path(folder)) as settings:
        yield settings


@pytest.fixture(scope="session")
def minio() -> Iterator[Settings]:
    """A server like MinIO, of this test session."""
    with tempfile.TemporaryDirectory(prefix="perdura-minio-") as folder, like_minio(Path(folder)) as settings:
        yield settings


@dataclass(frozen=True)
class Gateway:
    """A Ceph RADOS Gateway: over http, and over https with a certificate of its own authority."""

    plain: Settings
    tls: Settings


@pytest.fixture(scope="session")
def ceph() -> Iterator[Gateway]:
    """A real Ceph RADOS Gateway of this test session, where one can be started."""
    script = SHARED.joinpath("peers/ceph-rgw/rgw.sh") if SHARED else None
    missing = [name for name in ("radosgw", "ceph-mon", "ceph-osd") if shutil.which(name) is None]
    if script is None or not script.exists() or missing:
        pytest.skip("no Ceph RADOS Gateway here: ../shared/peers/ceph-rgw/rgw.sh install")
    state = Path(tempfile.mkdtemp(prefix="perdura-rgw-"))
    environment = {**os.environ, "RGW_STATE": str(state), "RGW_STORE": "memstore", "RGW_DISK_GIB": "4"}
    ports = iter(range(17_000 + os.getpid() % 400 * 12, 30_000))
    environment |= {name: str(next(ports)) for name in ("RGW_PORT", "RGW_TLS_PORT", "RGW_MON_PORT")}
    first = next(ports)
    environment["RGW_OSD_PORTS"] = f"{first}-{first + 7}"

    def run(command: str) -> str:
        done = subprocess.run([script, command], env=environment, capture_output=True, text=True, timeout=100)
        if done.returncode:
            pytest.skip(f"the Ceph RADOS Gateway did not {command}: {done.stderr[-300:]}")
        return done.stdout

    try:
        run("start")
        told = dict(part.partition("=")[::2] for part in shlex.split(run("env").replace("export ", "")))
        common = {
            "s3_access_key": told["AWS_ACCESS_KEY_ID"],
            "s3_secret_key": told["AWS_SECRET_ACCESS_KEY"],
            "s3_region": told.get("AWS_DEFAULT_REGION", "us-east-1"),
        }
        plain = Settings.model_validate({**common, "s3_endpoint": told["S3_ENDPOINT_URL"]})
        tls = Settings.model_validate(
            {**common, "s3_endpoint": told["S3_TLS_ENDPOINT_URL"], "s3_ca": told["S3_CA_FILE"]}
        )
        buckets.create(plain)
        yield Gateway(plain, tls)
    finally:
        subprocess.run([script, "wipe"], env=environment, capture_output=True, timeout=60)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A repository that says and does what a test tells it."""
    with serving() as server:
        yield server
