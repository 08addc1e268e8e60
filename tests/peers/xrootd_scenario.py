"""Run inside a network namespace of its own, because XRootD binds every interface: gateway → XRootD → tape endpoint.

Takes a working directory as argument, writes a JSON document of results to standard output.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import pwd
import socket
import ssl
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from perdura.clients.tape_endpoint import TapeEndpoint
from perdura.errors import PerduraError
from perdura.local.tape import transfer
from perdura.local.tape.server import _outgoing
from tests.peers.grid import ADLER32, DATA, Grid, grid
from tests.unit.tape.pki import host

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PORT = 18444
COPY = "gfal-copy"


def loopback_up() -> None:
    """A new network namespace starts with its loopback interface down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        name = struct.pack("16sh", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(channel, SIOCGIFFLAGS, name), 16)
        fcntl.ioctl(channel, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def configure(root: Path, here: Grid) -> Path:
    """XRootD as fts-cta.md 12.4 has it, with macaroons."""
    for name in ("data/eos", "admin", "keys"):
        (root / name).mkdir(parents=True)
    certificate, key = host().write(root / "keys", "host")
    ca = root / "keys" / "ca.pem"
    ca.write_bytes((here.pki / "ca.pem").read_bytes())
    secret = root / "keys" / "macaroon"
    secret.write_bytes(base64.encodebytes(os.urandom(64)))
    secret.chmod(0o600)
    rights = root / "keys" / "authdb"
    rights.write_text("u * /eos a\n")
    lines = f"""
all.export /eos
all.sitename TESTSITE
oss.localroot {root}/data
all.adminpath {root}/admin
all.pidpath {root}/admin
xrd.port {PORT}
xrd.network nodnr
xrd.tls {certificate} {key}
xrd.tlsca certfile {ca}
xrd.protocol http:{PORT} libXrdHttp.so
http.exthandler xrdtpc libXrdHttpTPC.so
http.exthandler xrdmacaroons libXrdMacaroons.so
http.desthttps yes
http.selfhttps2http no
macaroons.secretkey {secret}
xrootd.chksum max 2 adler32
xrootd.async off
ofs.authorize
ofs.authlib libXrdMacaroons.so
acc.authdb {rights}
"""
    config = root / "xrootd.cfg"
    config.write_text(lines)
    user = pwd.getpwnam("xrootd")
    for path in [root, *root.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid)
    return config


def started(root: Path, config: Path) -> None:
    """Start XRootD and wait until it answers."""
    command = ["xrootd", "-R", "xrootd", "-b", "-l", str(root / "log"), "-s", str(root / "admin/pid")]
    subprocess.run([*command, "-c", str(config), "-I", "v4", "-n", "peer"], check=True, capture_output=True)
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit((root / "log").read_text())


def scenario(root: Path, here: Grid) -> dict[str, Any]:
    """Copies in both directions."""
    there = f"davs://localhost:{PORT}/eos/dm/from-gateway.tar"
    environment = here.environment()
    options = ["--copy-mode", "pull", "-K", "ADLER32", "-p", "-t", "60"]
    pulled = subprocess.run([COPY, *options, here.aip_url, there], capture_output=True, text=True, env=environment)
    stored = root / "data/eos/dm/from-gateway.tar"
    archived = f"{here.tape_url}/from-xrootd.tar"
    onward = subprocess.run([COPY, *options, there, archived], capture_output=True, text=True, env=environment)
    tls = _outgoing(here.pki)
    with transfer.request("HEAD", archived, {"Want-Digest": "adler32"}, tls=tls) as answer:
        digest = answer.headers.get("Digest")
    return {
        "gateway to xrootd": [pulled.returncode, pulled.stderr[-500:]],
        "same bytes": stored.exists() and stored.read_bytes() == DATA,
        "xrootd to tape": [onward.returncode, onward.stderr[-500:]],
        "digest": digest,
        "expected digest": f"adler32={ADLER32}",
        "ranges": ranges(tls),
        "redirected or streamed": sorted({access.status for access in here.audited if access.method == "GET"}),
    }


def ranges(tls: ssl.SSLContext) -> dict[str, Any]:
    """What our client of tape endpoints reads: bytes as asked for, or what it says of the answer."""
    endpoint = TapeEndpoint(f"https://localhost:{PORT}", tls=tls)
    size = len(DATA)
    found: dict[str, Any] = {}
    for name, offset, length, expected in (
        ("all of it", 0, size, DATA),
        ("a part", 100, 1000, DATA[100:1100]),
        ("more than there is", size - 10, 100, DATA[-10:]),
        ("nothing that is there", size, 100, b""),
    ):
        try:
            found[name] = b"".join(endpoint.read("/eos/dm/from-gateway.tar", offset, length)) == expected
        except PerduraError as error:
            found[name] = error.message
    endpoint.close()
    return found


def main() -> None:
    """Everything, in one namespace."""
    loopback_up()
    root = Path(sys.argv[1])
    with grid(root / "grid") as here:
        peer = root / "xrootd"
        config = configure(peer, here)
        started(peer, config)
        pid = int((peer / "admin/pid").read_text())
        try:
            print(json.dumps(scenario(peer, here)))
        finally:
            os.kill(pid, 15)


if __name__ == "__main__":
    main()
