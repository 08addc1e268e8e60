"""a3m as an engine: the real program, in its own environment, makes an AIP that is taken over.

Set A3M to the path of the program; it needs the tools that archivematica.md 10 lists.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from perdura.outcome import StepState
from perdura.settings import Settings
from perdura.steps.preserve import run
from perdura.storage.memory import MemoryStore
from tests.peers.archivematica.clock import SteppedClock
from tests.peers.archivematica.driver import Driver

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]


def test_the_real_a3m_makes_an_aip_that_is_verified_and_taken_over() -> None:
    program = os.environ.get("A3M")
    if program is None:
        pytest.skip("A3M does not name the program")
    store, clock = MemoryStore(), SteppedClock()
    driver = Driver(store, clock, {}, settings=Settings(a3m=program, virus_scan="off"))
    case = driver.add(1, {"hello.txt": b"hello\n", "folder/b.csv": b"a,b\n1,2\n"}, engine="a3m")
    outcome = run(case.view, replace(driver.ports(case.view), fleet=None))
    assert outcome.state is StepState.COMPLETED, outcome.message
    (package,) = outcome.packages
    assert package.container == "tar.gz"
    assert store.head(package.bucket, package.key).size == package.size
    paths = {file.path for _, files in outcome.files for file in files}
    assert {"data/objects/hello.txt", "data/objects/folder/b.csv"} <= paths
    types = {event.type for event in outcome.told_events}
    assert {"ingestion", "format identification", "fixity check"} <= types
