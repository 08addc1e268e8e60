"""The two servers that the suite runs against: the fake, and a real InvenioRDM."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.contract.test_inveniordm.fake import TOKENS, Fake
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
