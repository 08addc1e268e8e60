"""The two servers that the suite runs against: the fake, and a real InvenioRDM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from perdura.ids import new_id
from tests.contract.test_inveniordm.fake import TOKENS, Fake
from tests.contract.test_inveniordm.meanwhile import World, known_world
from tests.contract.test_inveniordm.world import Target

REAL = pytest.param("real", marks=[pytest.mark.peers, pytest.mark.timeout(1800)])


@pytest.fixture
def fake() -> Fake:
    """A fake of its own for one test."""
    return Fake()


@pytest.fixture(params=["fake", REAL])
def target(request: pytest.FixtureRequest) -> Any:
    """A server with the users `publisher`, `other`, `archiver` and `admin`."""
    if request.param == "fake":
        server: Fake = request.getfixturevalue("fake")
        return Target(server.url, TOKENS, server.transport, server)
    peer = request.getfixturevalue("inveniordm")
    return Target(peer.url, peer.tokens, httpx.HTTPTransport)


@pytest.fixture
def access(tmp_path: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the file that describes one destination of the server under test."""
    monkeypatch.setenv("LIBRARY_TOKEN", target.tokens["publisher"])

    def write(**policy: Any) -> Path:
        lines = [f"{name} = {json.dumps(value)}" for name, value in policy.items() if not isinstance(value, dict)]
        tables = [
            f"[destination.{name}]\n" + "\n".join(f"{key} = {json.dumps(inner)}" for key, inner in value.items())
            for name, value in policy.items()
            if isinstance(value, dict)
        ]
        path = tmp_path / f"{new_id()}.toml"
        path.write_text(
            '[[destination]]\nid = "library"\ntype = "inveniordm"\ntoken = { env = "LIBRARY_TOKEN" }\n'
            + f'url = "{target.url}"\n' + "\n".join([*lines, *tables])
        )  # fmt: skip
        return path

    return write


@pytest.fixture
def made(target: Target, access: Callable[..., Path], database: Engine) -> Callable[..., World]:
    """Makes an Archive that the registry knows, and the file that says where it is to be published."""

    def make(pages: str = "", **policy: Any) -> World:
        path = access(**policy)
        path.write_text(path.read_text() + pages)
        return known_world(database, target, path)

    return make
