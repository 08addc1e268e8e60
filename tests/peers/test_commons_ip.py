"""AIPs of the profile `eark` before another's validator: no rule of CSIP 2.2.0 is broken (archivematica.md 9)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.peers.commons_ip import validated
from tests.unit.preserve.submissions import ARCHIVE, FILES
from tests.unit.preserve.test_eark import ROOT, made
from tests.unit.preserve.test_standards import AWKWARD

pytestmark = [pytest.mark.peers, pytest.mark.timeout(500)]


def _unpacked(files: dict[str, bytes], target: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(made(files))) as archive:
        archive.extractall(target, filter="data")
    return target / str(ARCHIVE) / ROOT


@pytest.mark.parametrize("files", [dict(FILES), AWKWARD], ids=["plain", "awkward"])
def test_commons_ip_finds_no_error(files: dict[str, bytes], tmp_path: Path) -> None:
    report = validated(_unpacked(files, tmp_path), tmp_path)
    failed = [(rule["id"], rule["testing"]["issues"]) for rule in report["validation"] if rule["testing"]["issues"]]
    assert (report["summary"]["result"], report["summary"]["errors"]) == ("VALID", 0), failed


def test_commons_ip_finds_the_error_of_a_package_whose_file_was_changed(tmp_path: Path) -> None:
    package = _unpacked(dict(FILES), tmp_path)
    next((package / "representations/rep1/data").rglob("*.txt")).write_bytes(b"changed")
    report = validated(package, tmp_path)
    assert report["summary"]["result"] == "INVALID"
