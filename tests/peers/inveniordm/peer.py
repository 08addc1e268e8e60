"""Installs and starts the real InvenioRDM for a test session; run as a program it keeps one running for a person.

The server's packages live in a virtual environment of their own below a cache directory (`PERDURA_PEERS`), are shared
by all sessions and never imported here. Every session has its own state and ports, unless `RDM_STATE` names an
instance that runs already: that one is used and left running.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SERVER = Path(__file__).parent / "server"
INSTALL_SECONDS = 1500
START_SECONDS = 300


class Unavailable(Exception):
    """The peer cannot be installed or started here; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A running InvenioRDM: its address, the personal tokens by user, and a port from which it may fetch files."""

    url: str
    tokens: Mapping[str, str]
    python: Path
    transfer_port: int
    environment: Mapping[str, str] = field(repr=False)

    def restart(self, **settings: str) -> None:
        """Stop and start again on the same data, with other limits (README.md lists the variables)."""
        _run("stop", self.environment, START_SECONDS)
        _run("start", {**self.environment, **settings}, START_SECONDS)

    def work(self) -> None:
        """Let it run its background tasks, where `RDM_BACKGROUND` kept them waiting; the next `restart` ends that."""
        _run("work", self.environment, START_SECONDS)


def cache() -> Path:
    """Where peers are installed: as root a directory that the database's own user may enter."""
    given = os.environ.get("PERDURA_PEERS")
    if given:
        return Path(given)
    return Path("/var/cache/perdura") if os.geteuid() == 0 else Path.home() / ".cache/perdura"


def install() -> Path:
    """Install the server's packages unless they are there; returns the Python that has them."""
    state = cache() / "inveniordm"
    state.mkdir(parents=True, exist_ok=True)
    _run("install", {"RDM_STATE": str(state), "RDM_VENV": str(state / "venv")}, INSTALL_SECONDS)
    return state / "venv/bin/python"


@contextmanager
def running(**settings: str) -> Iterator[Peer]:
    """An InvenioRDM that answers; raises Unavailable. `settings` are the variables of README.md."""
    kept = os.environ.get("RDM_STATE")
    if kept and not settings:
        yield _peer(Path(kept), dict(os.environ))
        return
    python = install()
    state = Path(tempfile.mkdtemp(prefix="perdura-inveniordm-"))
    state.chmod(0o755)
    transfer = _free_port()
    environment = {
        "RDM_STATE": str(state),
        "RDM_VENV": str(python.parent.parent),
        "RDM_TRANSFER_HOSTS": f"127.0.0.1:{transfer}",
        **{f"RDM_{name}PORT": str(_free_port()) for name in ("", "SEARCH_", "PG_", "REDIS_")},
        **settings,
    }
    try:
        _run("fresh", environment, START_SECONDS)
        yield _peer(state, environment)
    finally:
        _run("stop", environment, START_SECONDS)
        shutil.rmtree(state, ignore_errors=True)


def _peer(state: Path, environment: Mapping[str, str]) -> Peer:
    tokens = json.loads((state / "tokens.json").read_text())
    return Peer(
        url=f"http://127.0.0.1:{environment.get('RDM_PORT', '18820')}",
        tokens={user: entry["token"] for user, entry in tokens.items()},
        python=Path(environment.get("RDM_VENV", str(state / "venv"))) / "bin/python",
        transfer_port=int(environment.get("RDM_TRANSFER_HOSTS", "127.0.0.1:18821").rpartition(":")[2]),
        environment=environment,
    )


def _run(verb: str, environment: Mapping[str, str], seconds: float) -> None:
    if shutil.which("bash") is None:
        raise Unavailable("InvenioRDM's starter needs bash")
    try:
        done = subprocess.run(
            [str(SERVER / "run"), verb], env={**os.environ, **environment}, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"InvenioRDM: `run {verb}` did not end within {seconds} s") from error
    if done.returncode != 0:
        raise Unavailable(f"InvenioRDM: `run {verb}`: {(done.stderr or done.stdout).strip()[-400:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def main() -> int:
    """Keep an InvenioRDM running until the input ends; tell its address and where its tokens are."""
    with running() as peer:
        print(f"InvenioRDM at {peer.url}, tokens in {peer.environment['RDM_STATE']}/tokens.json", flush=True)
        print(f"export RDM_STATE={peer.environment['RDM_STATE']} RDM_PORT={peer.environment['RDM_PORT']}", flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
