"""A real OpenID Connect provider beside the tests: nanoidp, in a virtual environment of its own, on loopback.

It asks for PKCE, signs ID tokens and access tokens with RS256, and gives programs tokens by client credentials.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.conftest import free_port

VERSION = "3.4.0"
CLIENT, SECRET = "perdura-tests", "the-secret-of-our-client"
ROBOT, ROBOT_SECRET = "harvest-robot", "the-secret-of-the-robot"
AUDIENCE = "perdura-api"
PASSWORD = "correct horse"
PEOPLE = {
    "vera": ["readers"],
    "dora": ["readers", "depositors"],
    "arno": ["archivists"],
    "adam": ["administrators"],
    "nemo": [],
}
ROLES = """
    viewer=readers
    depositor=depositors
    archivist=archivists
    administrator=administrators
"""


@dataclass(frozen=True)
class IdentityProvider:
    """A provider that runs: its issuer, and what a registry has to be told of it."""

    issuer: str

    def settings(self) -> dict[str, str]:
        """The settings of a registry that uses it."""
        return {
            "oidc_issuer": self.issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "oidc_roles": ROLES,
            "oidc_audience": AUDIENCE,
            "oidc_name": "the test provider",
        }

    def token_of_robot(self) -> str:
        """An access token by the client credentials grant."""
        answer = httpx.post(
            f"{self.issuer}/token", auth=(ROBOT, ROBOT_SECRET), data={"grant_type": "client_credentials"}
        )
        return str(answer.raise_for_status().json()["access_token"])


def _cache() -> Path:
    given = os.environ.get("PERDURA_PEERS")
    if given:
        return Path(given)
    return Path("/var/cache/perdura") if os.geteuid() == 0 else Path.home() / ".cache/perdura"


def _program() -> str:
    """The installed provider; skips by name where it cannot be installed."""
    folder = _cache() / f"nanoidp-{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".nanoidp.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "installed").exists():
            venv.create(folder, with_pip=True, clear=True)
            done = subprocess.run(
                [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", f"nanoidp=={VERSION}"],
                capture_output=True, text=True, timeout=300,
            )  # fmt: skip
            if done.returncode != 0:
                pytest.skip(f"nanoidp {VERSION} could not be installed: {done.stderr[-200:]}")
            (folder / "installed").touch()
    return str(folder / "bin/nanoidp")


@contextmanager
def identity_provider(callback: str) -> Iterator[IdentityProvider]:
    """Run a provider that sends people back to `callback` until the context is left."""
    program, port = _program(), free_port()
    issuer = f"http://127.0.0.1:{port}"
    with TemporaryDirectory(prefix="perdura-idp-") as name:
        folder = Path(name)
        _configure(folder, issuer, port, callback)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [program, "--config", str(folder), "--host", "127.0.0.1", "--port", str(port), "--profile", "oauth21"],
                stdout=log, stderr=log, cwd=folder, env={"PATH": os.environ["PATH"], "HOME": name},
            )  # fmt: skip
        try:
            _await(issuer, server, folder / "log")
            yield IdentityProvider(issuer)
        finally:
            server.terminate()
            server.wait(10)


def _configure(folder: Path, issuer: str, port: int, callback: str) -> None:
    clients = [
        {"client_id": CLIENT, "client_secret": SECRET, "redirect_uris": [callback]},
        {"client_id": ROBOT, "client_secret": ROBOT_SECRET, "additional_audiences": [AUDIENCE]},
    ]
    settings = {
        "config_version": 1,
        "server": {"host": "127.0.0.1", "port": port},
        "oauth": {"issuer": issuer, "audience": AUDIENCE, "clients": clients, "require_pkce": True},
    }
    users = {
        name: {"password": PASSWORD, "email": f"{name}@example.org", "groups": groups}
        for name, groups in PEOPLE.items()
    }
    (folder / "settings.yaml").write_text(json.dumps(settings))
    (folder / "users.yaml").write_text(json.dumps({"config_version": 1, "users": users}))


def _await(issuer: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            if httpx.get(f"{issuer}/.well-known/openid-configuration").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"the identity provider did not start: {log.read_text()[-2000:]}")


if __name__ == "__main__":
    with identity_provider(sys.argv[1]) as running:
        print(running.issuer, flush=True)
        sys.stdin.read()
