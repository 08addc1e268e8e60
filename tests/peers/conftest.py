"""Other projects' servers that peer tests share; each is started once per test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.inveniordm import peer


@pytest.fixture(scope="session")
def inveniordm() -> Iterator[peer.Peer]:
    """A real InvenioRDM v14, empty at the beginning of the session."""
    try:
        with peer.running() as running:
            yield running
    except peer.Unavailable as error:
        pytest.skip(str(error))
