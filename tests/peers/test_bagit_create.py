"""SIPs that the real bagit-create writes are accepted, whichever way they are packed (cern-oais-platform.md 14)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from perdura.packages.sources import LocalFile, LocalTree
from perdura.packages.verify import verify

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]
VERSION = "1.5.3"
PACKAGES = (
    "bagit-create==1.5.3",
    "oais-utils==0.4.1",
    "fs==2.4.16",
    "setuptools==80.9.0",
    "bagit==1.9.0",
    "jsonschema==3.0.2",
    "pyrsistent==0.20.0",
    "attrs==26.1.0",
    "six==1.17.0",
    "appdirs==1.4.4",
    "click==8.5.1",
    "requests==2.34.2",
    "urllib3==2.8.0",
    "certifi",
    "idna==3.10",
    "charset-normalizer==3.5.2",
    "pymarc==4.2.2",
    "python-slugify==6.1.2",
    "text-unidecode==1.3",
    "cernopendata-client==0.2.0",
)
"""What it needs without the compiler and the Kerberos headers that only CDS certificates want."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "perdura-peers"


@pytest.fixture(scope="module")
def bic() -> str:
    """The program, in an environment of its own (it is GPL and never imported)."""
    named = os.environ.get("PERDURA_BIC")
    if named:
        return named
    environment = CACHE / f"bagit-create-{VERSION}"
    program = environment / "bin" / "bic"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True, capture_output=True)
        python = str(environment / "bin" / "python")
        pip = [python, "-m", "pip", "install", "-q", "--no-deps", *PACKAGES]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
        if done.returncode:
            shutil.rmtree(environment, ignore_errors=True)
            pytest.skip(f"bagit-create {VERSION} cannot be installed: {done.stderr[-200:]}")
        where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        site = subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip()
        Path(site, "cern_sso.py").touch()
    return str(program)


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
