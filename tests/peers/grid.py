"""What the peer tests of tape share: a public key infrastructure on disk, our servers over TLS, one AIP."""

from __future__ import annotations

import os
import random
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdura.api.gateway import Access, Held
from perdura.local.tape.fts.daemon import Pace
from perdura.local.tape.http import Server
from perdura.local.tape.library import Model
from perdura.local.tape.server import TapeServer
from perdura.settings import Settings
from perdura.storage.store import ObjectRef
from tests.contract.test_tape_x509 import DN, Gateway
from tests.unit.tape.fakes import AIP, ARCHIVE, NOW, PresigningStore, aip
from tests.unit.tape.pki import authority, robot, tls_directory

KEEP = 0.5
DATA = random.Random(1871).randbytes(3_000_000)  # the same in every worker
ADLER32 = f"{zlib.adler32(DATA):08x}"


@dataclass
class Grid:
    """Our servers and the credentials to use them."""

    server: TapeServer
    front: Server
    audited: list[Access]
    pki: Path
    certificate: str
    key: str

    @property
    def aip_url(self) -> str:
        """The AIP at the gateway, as grid tools write it."""
        return f"{davs(self.front.url)}/aips/{AIP}.tar"

    @property
    def tape_url(self) -> str:
        """A directory of the tape endpoint."""
        return f"{davs(self.server.endpoint_url)}/eos/cta/dm"

    def environment(self) -> dict[str, str]:
        """Environment of a grid tool."""
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.pki), "X509_CERT_DIR": str(self.pki / "certificates"),
            "X509_USER_CERT": self.certificate, "X509_USER_KEY": self.key, "GFAL_PYTHONBIN": "/usr/bin/python3",
        }  # fmt: skip


def davs(url: str) -> str:
    """The URL with grid tools' scheme."""
    return url.replace("https://", "davs://", 1)


def certificate_directory(pki: Path) -> Path:
    """The CA as grid tools look for it: `<hash>.0` and `<hash>.signing_policy`."""
    directory = pki / "certificates"
    directory.mkdir()
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(pki / "ca.pem")]
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    (directory / f"{name}.0").write_bytes(authority().pem)
    policy = "access_id_CA X509 '/DC=ch/DC=test/CN=Test CA'\npos_rights globus CA:sign\n"
    policy += "cond_subjects globus '\"/DC=ch/*\"'\n"
    (directory / f"{name}.signing_policy").write_text(policy)
    return directory


@contextmanager
def grid(root: Path, **gateway_settings: Any) -> Iterator[Grid]:
    """Run the tape library and the gateway over TLS."""
    pki = root / "pki"
    pki.mkdir(parents=True)
    tls_directory(pki)
    certificate_directory(pki)
    certificate, key = robot().write(pki, "robot")
    model = Model(mount=0.01, seek=0.001, keep=KEEP, rate=0)
    server = TapeServer(
        root / "tape", token=None, tls_directory=pki, model=model, pace=Pace(monitor=0.01), api=(3, 13, 4)
    )
    server.start()
    store = PresigningStore()
    package = aip(store, DATA)
    ref = ObjectRef(package.bucket, package.key, package.version_id, package.etag)
    held = Held(AIP, ARCHIVE, ref, package.size, ADLER32, NOW)
    values: dict[str, Any] = {
        "tape_gateway_secret": "s" * 32, "tape_gateway_dns": DN, "tape_gateway_certificate_header": "X-Client-Cert",
        "tape_gateway_proxy": True,
    }  # fmt: skip
    gateway = Gateway(store, Settings(**(values | gateway_settings)), held, [])
    front = gateway.serve(pki)
    try:
        yield Grid(server, front, gateway.audited, pki, certificate, key)
    finally:
        front.stop()
        server.stop()
