"""A real XRootD server pulls an AIP from our gateway, and gives it to our tape endpoint (fts-cta.md 7.5, 12.4)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.peers, pytest.mark.timeout(180)]
NEEDED = ("xrootd", "gfal-copy", "unshare")


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Any]]:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and {', '.join(NEEDED)} (xrootd-server, gfal2-util-scripts)")
    # XRootD drops to its own user, who may not look into the directories of pytest.
    root = Path(tempfile.mkdtemp(prefix="xrootd-"))
    root.chmod(0o755)
    command = ["unshare", "--net", sys.executable, "-m", "tests.peers.xrootd_scenario", str(root)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        if done.returncode and "unshare failed" in done.stderr:
            pytest.skip("network namespaces are not allowed here; XRootD would listen on every interface")
        assert done.returncode == 0, done.stderr[-2000:]
        yield json.loads(done.stdout)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_xrootd_pulls_from_the_gateway(results: dict[str, Any]) -> None:
    assert results["gateway to xrootd"] == [0, ""]
    assert results["same bytes"]


def test_the_tape_endpoint_pulls_from_xrootd(results: dict[str, Any]) -> None:
    assert results["xrootd to tape"] == [0, ""]
    assert results["digest"] == results["expected digest"]


def test_xrootd_gives_our_client_the_ranges_that_it_asks_for(results: dict[str, Any]) -> None:
    """Where the file ends before, XRootD 5.5 closes the connection: such a file is never taken for read."""
    ranges = results["ranges"]
    assert (ranges.pop("all of it"), ranges.pop("a part")) == (True, True)
    assert all(found is True or "broke off" in found for found in ranges.values()), ranges
