"""Servers that contract tests run against; each is started once per test session and stopped by its process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from perdura.errors import Broken
from perdura.local.passing_store import passing_store
from perdura.settings import Settings


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[Settings]:
    """Settings that reach an object store of this test session, its buckets made."""
    try:
        with passing_store() as settings:
            yield settings
    except Broken as error:
        pytest.skip(f"no object store here: {error.message}")
