"""A refused package leaves no read buffers behind, whenever the garbage of cycles is collected."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from perdura.packages.verify import verify
from tests.corpus.cases import ARCHIVES
from tests.unit.packages.test_fuzz import LIMITS, Fenced

BUFFER = 2**20
"""Bytes of the smallest read buffer there is."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_a_refused_archive_leaves_no_buffer_to_the_collector() -> None:
    for case in ARCHIVES:
        verify(Fenced(case.data(), case.name), limits=LIMITS)
        assert tracemalloc.get_traced_memory()[0] < BUFFER, case.name
