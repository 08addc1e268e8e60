"""One running stack for all end-to-end tests of a session; afterwards nothing of it may be left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdura.local.process import Identity, session_of
from perdura.local.state import open_home
from perdura.local.status import read_status
from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack of its own home. Its processes are known by PID and start time, and must all end with it."""
    started: set[Identity] = set()
    with running_stack() as running:
        yield running
        status = read_status(open_home(running.home))
        started.update(process.identity for process in status.processes if process.pid)
        if status.supervisor is not None:
            started.add(Identity(*status.supervisor))
    left = [member for leader in started for member in session_of(leader)]
    assert not left, f"`perdura down` left processes behind: {left}"
