"""CERN's own validator (oais-utils 0.4.1, GPL: a program in an environment of its own) on SIPs that we harvest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from perdura.steps import harvest
from tests.peers.cern_tools import cern_tools
from tests.unit.harvest.surroundings import ARCHIVE, Harvesting
from tests.upstreams.invenio import publish
from tests.upstreams.server import serving

pytestmark = pytest.mark.peers

VALIDATE = """
import os, sys, oais_utils, oais_utils.validate
here = os.path.dirname(oais_utils.__file__)
oais_utils.json_schemas_paths["v1"] = os.path.join(here, "schemas", "sip-schema-d1.json")
print("VERDICT", oais_utils.validate.validate_sip(sys.argv[1]))
"""


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of the peer's environment."""
    return cern_tools() / "bin" / "python"


def judged(python: Path, folder: Path) -> bool:
    """CERN's verdict on a SIP."""
    done = subprocess.run([str(python), "-c", VALIDATE, str(folder)], capture_output=True, text=True)
    assert "VERDICT" in done.stdout, done.stderr[-2000:]
    return "VERDICT True" in done.stdout


def harvested(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A SIP of a record with these files, as a folder under CERN's name."""
    world = Harvesting()
    with serving() as upstream:
        url = publish(upstream, "rec-1", files)
        outcome = harvest.run(world.archive({"url": url, "warc": False}), world.ports())
    (package,) = outcome.packages
    folder = tmp_path / "sip::demo::rec-1::1"
    below = package.key.removeprefix(f"{ARCHIVE}/")
    for key in world.listing(below):
        target = folder / key.removeprefix(below)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(world.read(key))
    return folder


def test_what_we_harvest_is_accepted(python: Path, tmp_path: Path) -> None:
    files = {
        "thesis.pdf": b"%PDF-1.4 hello",
        "data table.csv": b"a,b\n",
        "grüße/ünï.txt": b"x",
        ".hidden": b"",
        "a:b.txt": b"y",
    }
    assert judged(python, harvested(tmp_path, files))


def test_a_record_without_files_is_accepted(python: Path, tmp_path: Path) -> None:
    assert judged(python, harvested(tmp_path, {}))


def test_many_files_are_accepted(python: Path, tmp_path: Path) -> None:
    assert judged(python, harvested(tmp_path, {f"{n:04d}.dat": str(n).encode() for n in range(300)}))


def test_a_missing_file_is_noticed(python: Path, tmp_path: Path) -> None:
    folder = harvested(tmp_path, {"a.txt": b"a"})
    (folder / "data/content/a.txt").unlink()
    assert not judged(python, folder)
