"""Our verdict beside that of `bagit` 1.9.0 on the same bags; where they differ, it is a known defect of the other.

Defects are those of packages.md 3.1 (verified there).
"""

from __future__ import annotations

from pathlib import Path

import bagit
import pytest

from perdura.packages.sources import LocalTree
from perdura.packages.verify import verify
from tests.corpus.cases import BAGS, BagCase
from tests.corpus.tree import as_directory

ACCEPTED_THERE = {
    "manifests-disagree": "manifests of 1.0 that list different files",
    "tag-manifest-without-manifest": "a tag manifest that does not list the payload manifest",
    "fetch-metadata-service": "a fetch entry that is in no manifest",
    "fetch-repeated": "fetch entries are not compared with one another",
    "fetch-tag-file": "tag files to be fetched",
    "manifest-without-path": "a line without a path is skipped",
    "oxum-twice": "two Payload-Oxum",
    "declaration-swapped": "lines in another order",
    "declaration-third-line": "a third line",
    "declaration-space": "white space before the colon",
    "declaration-large": "no limit on bagit.txt",
    "bag-info-label-space": "white space at the end of a label",
    "bag-info-too-large": "no limits",
    "bag-info-too-many": "no limits",
    "encoding-codec": "any codec of Python is a character set",
    "manifest-bom": "a byte-order mark in UTF-8",
    "oxum-wrong": "labels are case-sensitive",
}
REFUSED_THERE = {
    "percent-encoded": "%25 is not decoded",
    "percent-looks-like-path": "%25 is not decoded",
    "unicode-space-name": "lines are cut at U+2028, names lose NBSP at their end",
    "trailing-space": "names lose white space at their end",
}
_RAISING = (bagit.BagError, ValueError, TypeError, AttributeError, UnicodeDecodeError, OSError)
_COMPARED = [
    case
    for case in BAGS
    if "directory" not in case.not_in
    and case.verdict in ("valid", "warnings", "invalid")
    and not case.name.startswith(("sip", "profile", "limit", "desktop", "empty-payload", "generic"))
]


@pytest.mark.parametrize("case", _COMPARED, ids=[case.name for case in _COMPARED])
def test_where_we_differ_a_defect_is_known(case: BagCase, tmp_path: Path) -> None:
    folder = as_directory(case.files, tmp_path / "bag")
    ours = verify(LocalTree(folder)).verdict in ("valid", "warnings")
    try:
        theirs = bagit.Bag(str(folder)).validate()
    except _RAISING:
        theirs = False
    assert (theirs and not ours) == (case.name in ACCEPTED_THERE)
    assert (ours and not theirs) == (case.name in REFUSED_THERE)


def test_bags_made_there_are_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "bag"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"x")
    (folder / "sub/ü b.txt").write_bytes(b"y")
    bagit.make_bag(str(folder), checksums=["sha256", "sha512"])
    report = verify(LocalTree(folder))
    assert report.verdict == "valid", report.findings
    assert report.facts["bagit_version"] == "0.97"
