"""Debian's gfal2, the library FTS copies and stages with, against our tape endpoint and our gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.peers.grid import ADLER32, DATA, KEEP, Grid, davs, grid

pytestmark = [pytest.mark.peers, pytest.mark.timeout(180)]
SYSTEM_PYTHON = "/usr/bin/python3"


def has_gfal2() -> bool:
    if not shutil.which(SYSTEM_PYTHON):
        return False
    return subprocess.run([SYSTEM_PYTHON, "-c", "import gfal2"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What gfal2 made of our servers (fts-cta.md 7.3, 12.3)."""
    if not has_gfal2():
        pytest.skip("gfal2 is not installed (python3-gfal2 gfal2-plugin-http)")
    with grid(tmp_path_factory.mktemp("grid")) as here:
        return scenario(here)


def scenario(here: Grid) -> dict[str, Any]:
    given = {
        "certificate": here.certificate, "key": here.key, "tape": here.tape_url, "gateway": here.aip_url,
        "missing": f"{davs(here.front.url)}/aips/00000000-0000-7000-8000-0000000000ff.tar", "adler32": ADLER32,
        "keep": KEEP,
    }  # fmt: skip
    script = Path(__file__).with_name("gfal2_scenario.py")
    done = subprocess.run(
        [SYSTEM_PYTHON, str(script)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env=here.environment(),
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("stat gateway", len(DATA)),
        ("checksum gateway", ADLER32),
        ("copy pull", 0),
        ("copy streamed", 0),
        ("stat", len(DATA)),
        ("checksum", ADLER32),
        ("sitename", "perdura-tape"),
        ("archive_poll", 1),
        ("status on tape", "NEARLINE"),
        ("bring_online_poll", 1),
        ("status staged", "ONLINE_AND_NEARLINE"),
        ("release", 0),
        ("status released", "NEARLINE"),
        ("unlink", 0),
    ],
)
def test_gfal2_succeeds(results: dict[str, Any], operation: str, expected: object) -> None:
    assert results[operation] == expected


@pytest.mark.parametrize(
    ("operation", "errno", "words"),
    [
        ("stat missing", 2, "File not found"),
        ("copy wrong checksum", 5, "CHECKSUM MISMATCH"),
        ("copy exists", 17, "overwrite is not enabled"),
        ("copy missing", None, ""),
        ("read on tape", 5, ""),
        ("unlink missing", 2, "File not found"),
    ],
)
def test_gfal2_is_told_what_is_wrong(results: dict[str, Any], operation: str, errno: int | None, words: str) -> None:
    found = results[operation]
    assert isinstance(found, dict), found
    assert errno is None or found["errno"] == errno, found
    assert words in found["text"]


def test_gfal2_lists_what_it_wrote(results: dict[str, Any]) -> None:
    assert sorted(results["listdir"]) == ["a.tar", "b.tar"]
