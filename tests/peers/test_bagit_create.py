"""SIPs that the real bagit-create writes are accepted, whichever way they are packed (cern-oais-platform.md 14)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from perdura.packages.sources import LocalFile, LocalTree
from perdura.packages.verify import verify
from tests.peers.cern_tools import cern_tools

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def bic() -> str:
    """The program."""
    return os.environ.get("PERDURA_BIC") or str(cern_tools() / "bin" / "bic")


@pytest.fixture(scope="module")
def sip(bic: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "measurements"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("one")
    (folder / "deep" / "b.csv").write_text("1,2\n3,4\n")
    target = tmp_path_factory.mktemp("target")
    command = [bic, "--source", "local", "--source-path", str(folder), "--author", "test", "--target", str(target)]
    command += ["--workdir", str(tmp_path_factory.mktemp("work"))]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, timeout=120)
    assert "'status': 0" in done.stdout + done.stderr, (done.stdout + done.stderr)[-2000:]
    (made,) = target.glob("sip::*")
    return made


def test_the_sip_is_accepted(sip: Path) -> None:
    report = verify(LocalTree(sip))
    assert report.verdict == "warnings", report.findings
    assert set(report.counts) <= {"algorithm-weak", "name-not-portable", "sip-deviation", "sip-size-mismatch"}
    assert report.facts["sip"]["source"] == "local"
    assert any(file.path.endswith("b.csv") for file in report.files)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_it_gets_the_same_verdict_in_every_container(sip: Path, tmp_path: Path, kind: str) -> None:
    packed = tmp_path / f"sip.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for path in sorted(sip.rglob("*")):
                archive.write(path, f"sip/{path.relative_to(sip)}")
    else:
        with tarfile.open(packed, "w:gz" if kind == "tar.gz" else "w") as archive:
            archive.add(sip, "sip")
    with LocalFile(packed) as source:
        report = verify(source)
    unpacked = verify(LocalTree(sip))
    assert (report.verdict, report.counts) == (unpacked.verdict, unpacked.counts)


def test_a_changed_file_is_noticed(sip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sip"
    shutil.copytree(sip, copy)
    changed = next(copy.rglob("b.csv"))
    changed.write_text("1,2\n3,5\n")
    assert verify(LocalTree(copy)).verdict == "invalid"
